// SPDX-License-Identifier: GPL-2.0
/*
 * A stop requested at N conditional branches takes the vCPU out of the guest at N
 * plus the skid of the machine's overflow interrupt.  The skid is the emulator's,
 * and known: the environment repeats its options.
 *
 *	KVMFT_SKID	instructions an overflow interrupt is late, exactly so
 *	KVMFT_SKID_TAIL	not 0: KVMFT_SKID is the median, and this the largest
 *	KVMFT_LOSE	not 0: one in so many is lost
 *	KVMFT_SPURIOUS	not 0: so many instructions between those that nobody asked for
 *
 * The guest is an oracle of its own: it counts down a register once a branch.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvmft.h"
#include "programs.h"
#include "util.h"

/* spin retires two instructions for every conditional branch */
#define SPIN_INSNS	2

static u64 skid, skid_tail, lose, spurious;

struct machine {
	struct vm vm;
	int session;
};

/* Where a vCPU running spin is: conditional branches since the start, from its registers */
struct place {
	u64 cond;
	bool after_dec;		/* DEC has retired, JNZ has not */
};

static void machine_create(struct machine *m)
{
	int dev = kvmft_open_ok();

	program_vm(&m->vm, 0);
	m->session = kvmft_create_ok(dev, m->vm.fd);
	close(dev);
}

static void machine_destroy(struct machine *m)
{
	close(m->session);
	vm_destroy(&m->vm);
}

static void start_spin(struct machine *m, u64 iterations)
{
	const struct kvm_regs regs = { .r15 = iterations };

	vm_start(&m->vm, spin, &regs);
}

static void find_place(struct machine *m, u64 iterations, struct place *place)
{
	struct kvm_regs regs;

	vm_get_regs(&m->vm, &regs);
	place->cond = iterations - regs.r15;
	place->after_dec = regs.rip != guest_addr(spin);
	if (place->after_dec) {
		CHECK(regs.rip > guest_addr(spin) && regs.rip <= guest_addr(spin) + 3,
		      "stopped at rip %#llx, outside the loop", regs.rip);
		place->cond--;
	}
}

/* The largest distance that the emulator's options allow, in conditional branches */
static u64 skid_limit(void)
{
	u64 insns = skid_tail ? skid_tail : skid;

	return (insns + SPIN_INSNS - 1) / SPIN_INSNS;
}

/* What one requested stop came to */
struct outcome {
	u64 late;		/* conditional branches past the request */
	bool lost;
	bool early;		/* another exit came in the middle of the skid */
};

/* A short run: whether a stop's interrupt is late or lost is known at the next entry */
static void settle(struct machine *m)
{
	start_spin(m, 1);
	CHECK_EQ(vm_run(&m->vm), PORT_DONE, "result of a run without a stop");
}

/*
 * Start spin, ask to stop at @n branches and run until the vCPU is out.  Checks all
 * that holds on any machine; what the options promise is the caller's.
 */
static void stop_at(struct machine *m, u64 n, struct outcome *outcome)
{
	struct kvmft_session_status before, after, settled;
	u64 iterations = n + 40000000, insns;
	struct place place;
	int ret;

	start_spin(m, iterations);
	kvmft_status_ok(m->session, &before);
	kvmft_stop_ok(m->session, n);
	kvmft_status_ok(m->session, &after);
	CHECK_EQ(after.stop_at, before.cond + n, "stop_at after the request");

	ret = vm_run(&m->vm);
	CHECK(ret == -EINTR, "the guest ran to its end past the stop at %llu",
	      (unsigned long long)n);
	kvmft_status_ok(m->session, &after);
	find_place(m, iterations, &place);
	settle(m);
	kvmft_status_ok(m->session, &settled);

	CHECK_EQ(after.state, KVMFT_STATE_COUNTING, "state");
	CHECK_EQ(after.cond - before.cond, place.cond, "conditional branches at the stop");
	CHECK_EQ(after.stopped_at, after.cond, "stopped_at");
	CHECK_EQ(after.stop_at, 0, "stop_at after the stop");
	CHECK(place.cond >= n, "stopped at %llu, before the requested %llu",
	      (unsigned long long)place.cond, (unsigned long long)n);
	CHECK_EQ((settled.overflows - before.overflows) + (settled.lost - before.lost), 1,
		 "overflows and lost ones of one stop");

	memset(outcome, 0, sizeof(*outcome));
	outcome->late = place.cond - n;
	outcome->lost = settled.lost != before.lost;
	if (outcome->lost)
		return;
	insns = place.cond * SPIN_INSNS + place.after_dec;
	if (!skid_tail) {
		CHECK(insns <= n * SPIN_INSNS + skid,
		      "stop at %llu branches: out after %llu instructions, with a skid of %llu",
		      (unsigned long long)n, (unsigned long long)insns,
		      (unsigned long long)skid);
		outcome->early = insns != n * SPIN_INSNS + skid;
	}
	CHECK(outcome->late <= skid_limit(),
	      "%llu branches past the stop at %llu, where the skid is no more than %llu",
	      (unsigned long long)outcome->late, (unsigned long long)n,
	      (unsigned long long)skid_limit());
}

static const u64 distances[] = {
	2, 3, 4, 5, 7, 10, 50, 99, 100, 101, 999, 1000, 4096, 12345, 65536, 100000,
	1000001, 7654321, 20000000,
};

/* Without lost and spurious interrupts every stop is where it was asked for */
static void every_distance(void)
{
	unsigned int i, round, early = 0, total = 0;
	struct outcome outcome;
	struct machine m;

	if (lose || spurious)
		tap_skip("this machine loses or invents interrupts");
	machine_create(&m);
	for (round = 0; round < 5; round++) {
		for (i = 0; i < ARRAY_SIZE(distances); i++) {
			if (round && distances[i] > 100000)
				continue;
			stop_at(&m, distances[i], &outcome);
			CHECK(!outcome.lost, "the stop at %llu was lost",
			      (unsigned long long)distances[i]);
			early += outcome.early;
			total++;
		}
	}
	machine_destroy(&m);
	tap_diag("%u stops, %u cut short by another exit during the skid", total, early);
	/* The host's tick is due every 4,000,000 instructions; a skid is some thousand */
	CHECK(early <= (skid ? total / 20 : 0), "%u of %u stops were not at N plus the skid",
	      early, total);
}

/* The session's first run already has a stop */
static void stop_before_the_first_run(void)
{
	struct outcome outcome;
	struct machine m;
	unsigned int i;

	if (lose || spurious)
		tap_skip("this machine loses or invents interrupts");
	for (i = 0; i < 5; i++) {
		machine_create(&m);
		stop_at(&m, 1000 + i, &outcome);
		CHECK(!outcome.lost, "the stop was lost");
		machine_destroy(&m);
	}
}

static int compare_u64(const void *a, const void *b)
{
	const u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

#define SAMPLES		400

/* With a distribution the skid varies, around the median and up to the tail */
static void skid_distribution(void)
{
	static u64 late[SAMPLES];
	struct outcome outcome;
	struct machine m;
	struct rng rng;
	u64 median;
	int i;

	if (!skid_tail)
		tap_skip("the skid of this machine is constant");
	machine_create(&m);
	rng_seed(&rng, env_u64("KVMFT_SEED", 5));
	for (i = 0; i < SAMPLES; i++) {
		stop_at(&m, rng_between(&rng, 2, 20000), &outcome);
		CHECK(!outcome.lost, "a stop was lost");
		late[i] = outcome.late * SPIN_INSNS;
	}
	machine_destroy(&m);
	qsort(late, SAMPLES, sizeof(late[0]), compare_u64);
	median = late[SAMPLES / 2];
	tap_diag("skid in instructions: least %llu, median %llu, 99%% %llu, most %llu",
		 (unsigned long long)late[0], (unsigned long long)median,
		 (unsigned long long)late[SAMPLES * 99 / 100],
		 (unsigned long long)late[SAMPLES - 1]);
	CHECK(median > skid * 9 / 10 && median < skid * 11 / 10,
	      "median skid is %llu, not near %llu", (unsigned long long)median,
	      (unsigned long long)skid);
	CHECK(late[0] < late[SAMPLES - 1], "the skid does not vary");
}

/* The guest leaves for other reasons on the way: the stop stays where it is */
static void stop_across_exits(void)
{
	static const struct {
		u64 every, n;
	} table[] = {
		{ 1, 7 }, { 1, 1000 }, { 2, 501 }, { 100, 99 }, { 100, 100 }, { 100, 12345 },
		{ 5000, 1000000 },
	};
	struct kvmft_session_status before, after;
	struct kvm_regs regs;
	struct machine m;
	u64 cond, period;
	unsigned int i;
	int ret;

	if (lose || spurious)
		tap_skip("this machine loses or invents interrupts");
	machine_create(&m);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		memset(&regs, 0, sizeof(regs));
		regs.r15 = table[i].n + 10000000;
		regs.r14 = table[i].every;
		regs.rbx = table[i].every;
		vm_start(&m.vm, spin_exits, &regs);
		kvmft_status_ok(m.session, &before);
		kvmft_stop_ok(m.session, table[i].n);
		do {
			ret = vm_run(&m.vm);
			kvmft_status_ok(m.session, &after);
		} while (ret == PORT_SYNC && after.stop_at);
		/*
		 * The guest's own exit may come during the skid, and the vCPU be out
		 * of the guest with that
		 */
		CHECK(ret == -EINTR || (ret == PORT_SYNC && skid),
		      "no stop at %llu with an exit every %llu",
		      (unsigned long long)table[i].n, (unsigned long long)table[i].every);
		vm_get_regs(&m.vm, &regs);
		cond = after.cond - before.cond;
		/* Two branches an iteration: the position from RBX and R15 is within them */
		period = 2 * (table[i].n + 10000000 - regs.r15);
		CHECK(cond + 2 >= period && cond <= period + 2,
		      "%llu conditional branches, %llu by the guest's registers",
		      (unsigned long long)cond, (unsigned long long)period);
		CHECK(cond >= table[i].n && cond - table[i].n <= skid_limit() + 1,
		      "stopped at %llu, %llu asked for", (unsigned long long)cond,
		      (unsigned long long)table[i].n);
		if (!skid)
			CHECK_EQ(cond, table[i].n, "place of the stop");
		CHECK_EQ(after.stopped_at, after.cond, "stopped_at");
		CHECK(after.exits - before.exits > (table[i].n - 1) / 2 / table[i].every,
		      "the exits on the way are missing");
	}
	machine_destroy(&m);
}

/* A withdrawn stop does not happen, a newer request takes the place of an older one */
static void withdraw_and_replace(void)
{
	struct kvmft_session_status before, after;
	struct outcome outcome;
	struct machine m;

	machine_create(&m);
	start_spin(&m, 300000);
	kvmft_status_ok(m.session, &before);
	kvmft_stop_ok(m.session, 1000);
	kvmft_stop_ok(m.session, 0);
	kvmft_status_ok(m.session, &after);
	CHECK_EQ(after.stop_at, 0, "stop_at after withdrawing");
	CHECK_EQ(vm_run(&m.vm), PORT_DONE, "result of a run without a stop");
	kvmft_status_ok(m.session, &after);
	CHECK_EQ(after.cond - before.cond, 300000, "conditional branches");
	CHECK_EQ(after.stopped_at, 0, "stopped_at");
	CHECK_EQ(after.overflows + after.lost, 0, "overflows");

	/* One that the counter has been told already */
	kvmft_stop_ok(m.session, 2000000);
	start_spin(&m, 1000);
	CHECK_EQ(vm_run(&m.vm), PORT_DONE, "result of a run up to before the stop");
	kvmft_stop_ok(m.session, 0);
	start_spin(&m, 4000000);
	CHECK_EQ(vm_run(&m.vm), PORT_DONE, "result of a run past a withdrawn stop");
	kvmft_status_ok(m.session, &after);
	CHECK_EQ(after.cond - before.cond, 4301000, "conditional branches");
	CHECK_EQ(after.stopped_at, 0, "stopped_at");

	if (!lose && !spurious) {
		kvmft_stop_ok(m.session, 77);
		stop_at(&m, 5000, &outcome);
		kvmft_stop_ok(m.session, 100000);
		stop_at(&m, 600, &outcome);
	}
	machine_destroy(&m);
}

/* Stop after stop in one run of the guest, which still computes the right thing */
static void stop_and_go_on(void)
{
	/* A lost stop is passed by as much as the host's tick is away: some millions */
	const u64 iterations = lose ? 40000000 : 1000000;
	struct kvmft_session_status before, after;
	unsigned int stops = 0;
	struct machine m;
	struct rng rng;
	int ret;

	machine_create(&m);
	rng_seed(&rng, env_u64("KVMFT_SEED", 6));
	start_spin(&m, iterations);
	kvmft_status_ok(m.session, &before);
	do {
		kvmft_stop_ok(m.session, rng_between(&rng, 2, 20000));
		ret = vm_run(&m.vm);
		stops += ret == -EINTR;
	} while (ret == -EINTR);
	CHECK_EQ(ret, PORT_DONE, "port");
	kvmft_status_ok(m.session, &after);
	tap_diag("%u stops, %llu overflows, %llu lost, %llu spurious", stops,
		 (unsigned long long)after.overflows, (unsigned long long)after.lost,
		 (unsigned long long)after.spurious);
	CHECK_EQ(after.cond - before.cond, iterations, "conditional branches");
	CHECK_EQ(after.taken - before.taken, iterations - 1, "taken branches");
	CHECK(stops > 20, "only %u stops", stops);
	CHECK_EQ(after.overflows + after.lost, stops, "overflows and lost ones");
	if (!lose)
		CHECK_EQ(after.lost, 0, "lost overflows");
	machine_destroy(&m);
}

/* Lost interrupts are noticed at a later exit, and the vCPU comes out there */
static void lost_are_noticed(void)
{
	unsigned int lost = 0, on_time = 0, i;
	struct outcome outcome;
	struct machine m;
	struct rng rng;

	if (!lose)
		tap_skip("this machine loses no interrupts");
	machine_create(&m);
	rng_seed(&rng, env_u64("KVMFT_SEED", 7));
	for (i = 0; i < 100; i++) {
		stop_at(&m, rng_between(&rng, 2, 30000), &outcome);
		if (outcome.lost)
			lost++;
		else
			on_time++;
	}
	machine_destroy(&m);
	tap_diag("%u on time, %u lost", on_time, lost);
	CHECK(lost > 100 / lose / 2 && lost < 300 / lose, "%u of 100 lost, where 1 in %llu is",
	      lost, (unsigned long long)lose);
	CHECK(on_time, "no stop was on time");
}

/* Interrupts that nobody asked for are counted, and change nothing */
static void spurious_are_survived(void)
{
	struct kvmft_session_status status;
	struct outcome outcome;
	struct machine m;
	struct rng rng;
	unsigned int i;

	if (!spurious)
		tap_skip("this machine invents no interrupts");
	machine_create(&m);
	rng_seed(&rng, env_u64("KVMFT_SEED", 8));
	for (i = 0; i < 60; i++) {
		stop_at(&m, rng_between(&rng, 2, 10 * spurious), &outcome);
		if (!lose)
			CHECK(!outcome.lost, "the stop was lost");
		if (!skid && !outcome.lost)
			CHECK_EQ(outcome.late, 0, "branches past the stop");
	}
	kvmft_status_ok(m.session, &status);
	machine_destroy(&m);
	tap_diag("%llu overflows, %llu spurious, %llu lost",
		 (unsigned long long)status.overflows, (unsigned long long)status.spurious,
		 (unsigned long long)status.lost);
	CHECK(status.spurious >= 10, "only %llu spurious interrupts were noticed",
	      (unsigned long long)status.spurious);
}

static void setup(void)
{
	skid = env_u64("KVMFT_SKID", 0);
	skid_tail = env_u64("KVMFT_SKID_TAIL", 0);
	lose = env_u64("KVMFT_LOSE", 0);
	spurious = env_u64("KVMFT_SPURIOUS", 0);
	kvmft_setup();
}

static const struct tap_case cases[] = {
	{ "every_distance", every_distance, 0 },
	{ "stop_before_the_first_run", stop_before_the_first_run, 0 },
	{ "stop_across_exits", stop_across_exits, 0 },
	{ "withdraw_and_replace", withdraw_and_replace, 0 },
	{ "stop_and_go_on", stop_and_go_on, 0 },
	{ "skid_distribution", skid_distribution, 0 },
	{ "lost_are_noticed", lost_are_noticed, 0 },
	{ "spurious_are_survived", spurious_are_survived, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
