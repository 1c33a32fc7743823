"""No host function calls a function that exists on the device only. nvcc says nothing of such a call in a template: it gives the function a body that
ends the program with exit code 1 and without a message. So no object file of a .cu file may ask for exit.

    host_side_test.py BUILD_FOLDER
"""
import pathlib
import subprocess
import sys

objects = sorted(pathlib.Path(sys.argv[1]).rglob("*.cu.o"))
if not objects:
    print("skipped: no .cu file was built; that needs nvcc")
    sys.exit(77)
found = [path.name for path in objects
         if "exit" in subprocess.run(["nm", "-u", path], capture_output=True, text=True, check=True).stdout.split()]
if found:
    sys.exit("these call a function of the device on the host: " + ", ".join(found))
print(f"{len(objects)} object files, none ends the program")
