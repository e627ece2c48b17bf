/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_H
#define _FUZZ_H

#include <linux/types.h>

#include "entry.h"

/* The target: reads @size bytes as everything that comes from outside, and judges. */
int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* How libFuzzer changes an input, and how it is asked to do it here. */
size_t LLVMFuzzerMutate(u8 *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size, unsigned int seed);

/* What has to hold: says what did not, and aborts. */
#define require(condition)						\
	do {								\
		if (!(condition))					\
			broken(__FILE__, __LINE__, #condition);		\
	} while (0)

__attribute__((noreturn)) void broken(const char *file, int line, const char *condition);

/* Memory that ends where the sanitizer looks. */
void *allocate(size_t size);
u8 *duplicate(const u8 *bytes, size_t size);

#endif /* _FUZZ_H */
