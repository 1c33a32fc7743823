// QLORA_SANITIZED is 1 where a sanitizer makes memory its own, QLORA_THREAD_SANITIZED where it is
// the one of threads.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QLORA_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define QLORA_SANITIZED 1
#endif
#endif
#ifndef QLORA_SANITIZED
#define QLORA_SANITIZED 0
#endif

#if defined(__SANITIZE_THREAD__)
#define QLORA_THREAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define QLORA_THREAD_SANITIZED 1
#endif
#endif
#ifndef QLORA_THREAD_SANITIZED
#define QLORA_THREAD_SANITIZED 0
#endif
