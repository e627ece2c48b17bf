// SPDX-License-Identifier: GPL-2.0
/*
 *   replay FILE...       the target with each file, in a process of its own: TAP
 *   replay --list FILE   the entries at the start of the file, one a line, as numbers
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

static u8 *read_file(const char *name, size_t *size)
{
	FILE *file = fopen(name, "rb");
	static u8 bytes[1 << 20];

	if (!file) {
		perror(name);
		exit(2);
	}
	*size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	return duplicate(bytes, *size);
}

static bool passes(const char *name)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return false;
	if (!child) {
		size_t size;
		u8 *bytes = read_file(name, &size);

		LLVMFuzzerTestOneInput(bytes, size);
		free(bytes);
		exit(0);
	}
	return waitpid(child, &status, 0) == child && !status;
}

static void print_hex(const u8 *bytes, int len)
{
	printf("[");
	while (len--)
		printf("%02x", *bytes++);
	printf("]");
}

static void print_input(const struct kvmft_input *input)
{
	printf(" (%u %u 0x%x 0x%x 0x%x 0x%llx ", input->type, input->level, input->source,
	       input->gsi, input->data, (unsigned long long)input->addr);
	print_hex(input->bytes, input->len);
	printf(")");
}

static void print(const struct kvmft_entry *e, int len)
{
	int i;

	printf("%d: %u %u %u %u %u 0x%x 0x%llx 0x%llx 0x%llx 0x%llx 0x%llx 0x%llx 0x%llx ", len,
	       e->type, e->space, e->at, e->more, e->nr_inputs, e->check,
	       (unsigned long long)e->addr, (unsigned long long)e->value,
	       (unsigned long long)e->memory, (unsigned long long)e->exits,
	       (unsigned long long)e->pos.cond, (unsigned long long)e->pos.taken,
	       (unsigned long long)e->rip);
	print_hex(e->data, e->len);
	for (i = 0; i < e->nr_inputs; i++)
		print_input(&e->inputs[i]);
	printf("\n");
}

static int list(const char *name)
{
	struct kvmft_codec codec;
	struct kvmft_entry entry;
	size_t size, at = 0;
	u8 *bytes = read_file(name, &size);
	int len = 0;

	kvmft_codec_init(&codec);
	for (; at < size; at += len) {
		len = kvmft_entry_decode(&codec, &entry, bytes + at, size - at);
		if (len < 0)
			break;
		print(&entry, len);
	}
	free(bytes);
	return 0;
}

int main(int argc, char **argv)
{
	int i, failed = 0;

	if (argc == 3 && !strcmp(argv[1], "--list"))
		return list(argv[2]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("TAP version 13\n1..%d\n", argc - 1);
	for (i = 1; i < argc; i++) {
		const char *slash = strrchr(argv[i], '/');
		bool ok = passes(argv[i]);

		failed += !ok;
		printf("%s %d - %s\n", ok ? "ok" : "not ok", i, slash ? slash + 1 : argv[i]);
	}
	return failed ? 1 : 0;
}
