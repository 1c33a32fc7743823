/// The library's version, as the build system and a program see it.
#pragma once

#define QLORA_VERSION_MAJOR 0
#define QLORA_VERSION_MINOR 1
#define QLORA_VERSION_PATCH 0
#define QLORA_VERSION "0.1.0"
