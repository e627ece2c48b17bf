/* SPDX-License-Identifier: GPL-2.0 */
/* A log's bytes: where its entries are, by the module's own codec */
#ifndef SELFTESTS_LOGFILE_H
#define SELFTESTS_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>

/* The header of a file, of a version that the module does not know */
#define LOGFILE_HEADER	24
void logfile_newer_header(unsigned char *bytes);

/*
 * Offsets of up to @max entries in the @size bytes of a log file at @bytes; entry n + 1 is at
 * offsets[n].  Returns their number, or -1 if the file is damaged.
 */
int logfile_entries(const unsigned char *bytes, size_t size, size_t *offsets, int max);

/* The same for blocks: where each ends */
int logfile_blocks(const unsigned char *bytes, size_t size, size_t *ends, int max);

/* Is there an entry that a read of one byte from a port has made? */
bool logfile_is_port_read(const unsigned char *entry);

/* Make the checksums of all blocks right again */
void logfile_repair(unsigned char *bytes, size_t size);

#endif /* SELFTESTS_LOGFILE_H */
