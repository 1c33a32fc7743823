"""What the tests of a consumer do: run commands in a folder of their own, and install the library from there."""
import subprocess
import sys

NOTHING_BUILT = ("-DQLORA_BUILD_TESTS=OFF", "-DQLORA_BUILD_EXAMPLES=OFF", "-DQLORA_BUILD_BENCH=OFF", "-DQLORA_CUDA=OFF")


class Steps:
    def __init__(self, folder):
        self.folder = folder

    def attempt(self, *command):
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=self.folder)

    def run(self, *command):
        """The output of a command that must succeed; otherwise the test ends with what it said."""
        done = self.attempt(*command)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def install(self, repository, compiler):
        """Installs into `prefix`; returns what CMake says when it configures."""
        said = self.run("cmake", "-S", repository, "-B", "build", "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={compiler}", *NOTHING_BUILT,
                        f"-DCMAKE_INSTALL_PREFIX={self.folder / 'prefix'}")
        self.run("cmake", "--install", "build")
        return said
