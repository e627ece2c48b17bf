/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A page that nobody brings: who touches it waits until it is closed, and finds zeroes then.
 */
#ifndef SELFTESTS_NOWHERE_H
#define SELFTESTS_NOWHERE_H

struct nowhere {
	int fd;
	void *page;
};

/* The case is skipped without userfaultfd */
void nowhere_open(struct nowhere *nowhere);
void nowhere_close(struct nowhere *nowhere);
/* Until somebody waits for the page */
void nowhere_wait(const struct nowhere *nowhere);

#endif /* SELFTESTS_NOWHERE_H */
