// SPDX-License-Identifier: GPL-2.0
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/file.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "machine.h"
#include "net.h"

/* Packets for a primary that is lost which are thrown away; its tap may get more for ever. */
#define STALE_MAX	65536
/* So long the last packets of a guest that was switched off wait for their taps. */
#define DRAIN_TIMEOUT	HZ

/* Of all devices of this module; see the header for the order of locks. */
static DEFINE_MUTEX(nets_lock);
static LIST_HEAD(nets);
static u64 last_id;
static struct workqueue_struct *net_wq;

void kvmft_net_queue_work(struct delayed_work *dwork, unsigned long delay)
{
	mod_delayed_work(net_wq, dwork, delay);
}

/*
 * Under nets_lock: what waits in all devices, and what has left.  With several it is the least of
 * what has left each.
 */
static void note_outputs(struct kvmft_engine *engine)
{
	u64 released = READ_ONCE(engine->transport->acked), held = 0, bytes = 0;
	struct kvmft_net *net;

	list_for_each_entry(net, &nets, node) {
		if (net->engine != engine)
			continue;
		/* All of it may be acknowledged, but the packets are still in the ring. */
		if (net->queues[KVMFT_NET_TX].kicked)
			released = min(released, net->queues[KVMFT_NET_TX].kicked_at - 1);
		spin_lock(&net->held_lock);
		released = kvmft_held_released(&net->held, released);
		held += net->held.nr;
		bytes += net->held.bytes;
		spin_unlock(&net->held_lock);
	}
	WRITE_ONCE(engine->outputs.held, held);
	WRITE_ONCE(engine->outputs.held_bytes, bytes);
	/* To tell the backup; which is told. */
	if (engine->mode == KVMFT_MODE_RECORD && released > READ_ONCE(engine->transport->released))
		WRITE_ONCE(engine->transport->released, released);
}

static void net_free(struct kref *ref)
{
	struct kvmft_net *net = container_of(ref, struct kvmft_net, ref);

	if (net->mm)
		mmdrop(net->mm);
	kvfree(net->regions);
	kvfree(net->rx);
	kvfree(net);
}

/* For next_net(). */
static bool is_of(struct kvmft_net *net, const void *vm)
{
	return net->vm == vm;
}

/*
 * The first device that @test, which is called under nets_lock with @arg, wants; or the next one
 * behind @last, which is let go of; NULL: there is none.  It can be closed, or leave its guest, at
 * any time.
 */
static struct kvmft_net *next_net(bool (*test)(struct kvmft_net *net, const void *arg),
				  const void *arg, struct kvmft_net *last)
{
	u64 after = last ? last->id : 0;
	struct kvmft_net *net, *next = NULL;

	mutex_lock(&nets_lock);
	list_for_each_entry(net, &nets, node) {
		if (net->id > after && test(net, arg)) {
			next = net;
			kref_get(&next->ref);
			break;
		}
	}
	mutex_unlock(&nets_lock);
	if (last)
		kref_put(&last->ref, net_free);
	return next;
}

/* Under net->lock, in the VMM's address space.  False: there was no room for all. */
static bool take_kicked(struct kvmft_net *net, u64 at)
{
	struct kvmft_net_queue *queue = &net->queues[KVMFT_NET_TX];
	bool full;

	/* One that is not running is asked again when it is. */
	if (!queue->kicked || !kvmft_net_is_usable(queue))
		return true;
	full = !kvmft_net_take(net, at);
	mutex_lock(&nets_lock);
	queue->kicked = full;
	mutex_unlock(&nets_lock);
	return !full;
}

/* At a boundary.  False: a device has no room. */
static bool take_all(struct kvmft_engine *engine)
{
	struct kvmft_net *net = NULL;
	bool room = true;

	while ((net = next_net(is_of, &engine->vcpu->vm, net))) {
		mutex_lock(&net->lock);
		if (net->engine == engine) {
			room &= take_kicked(net, engine->progress.bytes);
			/* Pairs with kvmft_net_acked(): either sees what the other did. */
			smp_mb();
			if (kvmft_net_may_send(net))
				kvmft_net_queue_work(&net->send_work, 0);
		}
		mutex_unlock(&net->lock);
	}
	mutex_lock(&nets_lock);
	note_outputs(engine);
	mutex_unlock(&nets_lock);
	return room;
}

/* The log does not go on. */
static bool is_over(const struct kvmft_engine *engine)
{
	return kvmft_transport_error(engine->transport) || READ_ONCE(engine->cancelled);
}

/*
 * Is there room in the engine's devices, or nothing any more that needs it?  Racy: who waits
 * is woken and asks again.
 */
static bool may_go_on(const struct kvmft_engine *engine)
{
	return READ_ONCE(engine->outputs.held_bytes) < KVMFT_NET_HELD_MAX || is_over(engine) ||
	       READ_ONCE(engine->vcpu->live);
}

/* The backup is what keeps the guest waiting up to where it has the log, then the taps are. */
static int wait_for_room(struct kvmft_engine *engine)
{
	struct kvmft_transport *transport = engine->transport;
	u64 end = kvmft_transport_urge(transport);

	return kvmft_transport_stall(transport, KVMFT_STALL_PACKETS,
				     READ_ONCE(transport->acked) >= end || may_go_on(engine)) ?:
	       kvmft_transport_wait(transport, KVMFT_STALL_PACKETS, may_go_on(engine));
}

int kvmft_net_transmit(struct kvmft_engine *engine)
{
	struct kvmft_vm *vm = &engine->vcpu->vm;
	int ret = 0;

	WRITE_ONCE(vm->kicked, false);
	while (!ret && !take_all(engine)) {
		kvmft_machine_sleep(vm);
		ret = wait_for_room(engine);
		kvmft_machine_wake(vm);
		if (is_over(engine))
			return 0;
		/* Let go of it. */
		if (READ_ONCE(engine->vcpu->live))
			ret = -EINTR;
		if (ret)
			WRITE_ONCE(vm->kicked, true);
	}
	return ret ? -EINTR : 0;
}

void kvmft_net_gone(struct kvmft_net *net, u64 gone, u64 sent)
{
	mutex_lock(&nets_lock);
	if (net->engine && net->phase != KVMFT_NET_REPLAY) {
		WRITE_ONCE(net->engine->outputs.sent, net->engine->outputs.sent + sent);
		note_outputs(net->engine);
		/* The vCPU may wait for room. */
		if (gone)
			kvmft_transport_wake(net->engine->transport);
	}
	mutex_unlock(&nets_lock);
}

bool kvmft_net_kick(struct kvmft_vm *vm, const struct eventfd_ctx *event)
{
	struct kvmft_net *net;
	bool found = false;
	int i;

	mutex_lock(&nets_lock);
	list_for_each_entry(net, &nets, node) {
		if (net->vm != vm)
			continue;
		for (i = 0; i < KVMFT_NET_QUEUES; i++) {
			struct kvmft_net_queue *queue = &net->queues[i];

			if (queue->kick.eventfd != event)
				continue;
			found = true;
			if (i == KVMFT_NET_TX) {
				queue->kicked = true;
				queue->kicked_at = net->engine->progress.bytes;
				WRITE_ONCE(vm->kicked, true);
			}
		}
	}
	mutex_unlock(&nets_lock);
	return found;
}

/* For next_net(): it has packets that @transport lets leave. */
static bool is_free(struct kvmft_net *net, const void *transport)
{
	return net->engine && net->engine->transport == transport && kvmft_net_may_send(net);
}

/* One that has left its session may be on its way out: nobody queues its work then. */
static void send_later(struct kvmft_net *net)
{
	mutex_lock(&nets_lock);
	if (net->engine)
		kvmft_net_queue_work(&net->send_work, 0);
	mutex_unlock(&nets_lock);
}

void kvmft_net_acked(const struct kvmft_transport *transport)
{
	struct kvmft_net *net = NULL;

	/* Pairs with take_all(): either sees what the other did. */
	smp_mb();
	while ((net = next_net(is_free, transport, net))) {
		/* Whoever has its lock may wait for what only the caller can hear. */
		if (!kvmft_net_try_send(net))
			send_later(net);
	}
}

/*
 * Starting, stopping.
 */
/* Others leave their work to the vCPU's thread, or have none. */
static bool has_work(const struct kvmft_net_wait *wait)
{
	enum kvmft_net_phase phase = READ_ONCE(wait->net->phase);

	return phase == KVMFT_NET_LIVE ||
	       (phase == KVMFT_NET_RECORD && wait->work == &wait->net->rx_work);
}

static int woken(wait_queue_entry_t *entry, unsigned int mode, int sync, void *key)
{
	struct kvmft_net_wait *wait = container_of(entry, struct kvmft_net_wait, entry);
	u64 counted;

	if (!(key_to_poll(key) & EPOLLIN))
		return 0;
	if (wait->eventfd)
		eventfd_ctx_do_read(wait->eventfd, &counted);
	/* Pairs with work_all(): it is seen there what this is told of. */
	smp_mb();
	if (has_work(wait))
		kvmft_net_queue_work(wait->work, 0);
	return 0;
}

static void found_head(struct file *file, wait_queue_head_t *head, poll_table *table)
{
	struct kvmft_net_wait *wait = container_of(table, struct kvmft_net_wait, table);

	wait->head = head;
	add_wait_queue(head, &wait->entry);
}

/* kvmft_net_kick() looks for it. */
static void set_eventfd(struct kvmft_net_wait *wait, struct eventfd_ctx *eventfd)
{
	mutex_lock(&nets_lock);
	swap(wait->eventfd, eventfd);
	mutex_unlock(&nets_lock);
	if (eventfd)
		eventfd_ctx_put(eventfd);
}

static void unwatch(struct kvmft_net_wait *wait)
{
	if (wait->head)
		remove_wait_queue(wait->head, &wait->entry);
	wait->head = NULL;
	set_eventfd(wait, NULL);
	if (wait->file)
		fput(wait->file);
	wait->file = NULL;
}

int kvmft_net_watch(struct kvmft_net *net, struct kvmft_net_wait *wait, struct file *file,
		    struct delayed_work *dwork, bool is_eventfd)
{
	struct eventfd_ctx *eventfd = NULL;

	lockdep_assert_held(&net->lock);
	if (file && is_eventfd) {
		eventfd = eventfd_ctx_fileget(file);
		if (IS_ERR(eventfd)) {
			fput(file);
			return PTR_ERR(eventfd);
		}
	}
	unwatch(wait);
	if (!file)
		return 0;
	wait->net = net;
	wait->file = file;
	wait->work = dwork;
	set_eventfd(wait, eventfd);
	init_waitqueue_func_entry(&wait->entry, woken);
	init_poll_funcptr(&wait->table, found_head);
	if (vfs_poll(file, &wait->table) & EPOLLIN)
		kvmft_net_queue_work(dwork, 0);
	return 0;
}

/* Is the guest's memory where the device has it from its VMM? */
static bool is_guest_of(struct kvmft_vm *vm, const void *arg)
{
	const struct kvmft_net *net = arg;
	u64 used = net->queues[KVMFT_NET_TX].ring.used, addr;

	return kvmft_net_guest_of(net, used, 1, &addr) &&
	       kvmft_machine_is_at(vm, net->mm, addr, used);
}

/* Who protects the guest of this device?  If its session lets go of it, that is not missed. */
static int join(struct kvmft_net *net)
{
	struct kvmft_engine *engine = NULL;
	struct kvmft_vcpu *vcpu;
	struct kvmft_vm *vm;
	int ret = 0;

	mutex_lock(&nets_lock);
	vm = kvmft_vm_find(is_guest_of, net);
	if (vm) {
		vcpu = container_of(vm, struct kvmft_vcpu, vm);
		/* Pairs with kvmft_vcpu_set_engine(): its context is set up. */
		if (smp_load_acquire(&vcpu->engine))
			engine = vcpu->context;
	}
	if (engine) {
		net->vm = vm;
		net->engine = engine;
		WRITE_ONCE(net->phase, engine->mode == KVMFT_MODE_RECORD ? KVMFT_NET_RECORD :
									   KVMFT_NET_REPLAY);
	} else if (net->outlived) {
		WRITE_ONCE(net->phase, KVMFT_NET_LIVE);
	} else {
		ret = -ENOTCONN;
	}
	if (vm)
		kvmft_vm_put(vm);
	mutex_unlock(&nets_lock);
	return ret;
}

void kvmft_net_outlive(const struct kvmft_vm *vm)
{
	struct kvmft_net *net;

	mutex_lock(&nets_lock);
	list_for_each_entry(net, &nets, node) {
		if (READ_ONCE(net->mm) == vm->kvm->mm)
			net->outlived = true;
	}
	mutex_unlock(&nets_lock);
}

/* Under net->lock: from now on it is for @phase, for most without its session. */
static void set_phase(struct kvmft_net *net, enum kvmft_net_phase phase)
{
	mutex_lock(&nets_lock);
	if (phase != KVMFT_NET_DRAIN) {
		net->engine = NULL;
		net->vm = NULL;
	}
	WRITE_ONCE(net->phase, phase);
	mutex_unlock(&nets_lock);
}

/* Its phase has changed. */
static void work_all(struct kvmft_net *net)
{
	/* Pairs with woken(): what that has left out is done now. */
	smp_mb();
	kvmft_net_queue_work(&net->rx_work, 0);
	kvmft_net_queue_work(&net->tx_work, 0);
	kvmft_net_queue_work(&net->send_work, 0);
}

static void stop(struct kvmft_net *net, unsigned int nr)
{
	struct kvmft_net_queue *queue = &net->queues[nr];

	if (nr == KVMFT_NET_RX) {
		unwatch(&net->tap_wait);
		net->rx_len = 0;
	}
	queue->running = false;
	if (queue->tap)
		fput(queue->tap);
	queue->tap = NULL;
}

/* While it was stopped its VMM may have been, but nothing was lost. */
static void ask_again(struct kvmft_net *net)
{
	mutex_lock(&nets_lock);
	if (net->queues[KVMFT_NET_TX].kicked && net->vm)
		WRITE_ONCE(net->vm->kicked, true);
	mutex_unlock(&nets_lock);
}

int kvmft_net_start(struct kvmft_net *net, unsigned int nr, struct file *tap, struct socket *sock)
{
	struct kvmft_net_queue *queue = &net->queues[nr];
	int ret = 0;

	lockdep_assert_held(&net->lock);
	stop(net, nr);
	if (!tap)
		return 0;
	if (net->phase == KVMFT_NET_NONE)
		ret = join(net);
	if (ret) {
		pr_warn_ratelimited("no session records or replays the guest of %s[%d]: its network device is not started\n",
				    current->comm, task_tgid_nr(current));
		fput(tap);
		return ret;
	}
	queue->tap = tap;
	queue->sock = sock;
	queue->broken = false;
	queue->running = true;
	if (nr == KVMFT_NET_TX) {
		if (net->out)
			fput(net->out);
		net->out = get_file(tap);
		net->out_sock = sock;
		ask_again(net);
	} else {
		kvmft_net_watch(net, &net->tap_wait, get_file(tap), &net->rx_work, false);
	}
	work_all(net);
	return 0;
}

/* A backup's, on its vCPU's thread. */
static void go_live(struct kvmft_net *net)
{
	struct kvmft_net_queue *rx = &net->queues[KVMFT_NET_RX];
	unsigned int stale = 0;
	int i;

	kvmft_net_keep(net);
	WRITE_ONCE(net->engine->outputs.resent, net->engine->outputs.resent + net->held.nr);
	kvmft_net_announce(net);
	if (kvmft_net_is_usable(rx)) {
		/* What has come until now was the primary's to receive. */
		while (stale++ < STALE_MAX && kvmft_net_read_tap(net))
			;
		net->rx_len = 0;
		kvmft_net_find_place(rx);
	}
	/* The log may have ended between what a device wrote and its interrupt. */
	for (i = 0; i < KVMFT_NET_QUEUES; i++)
		if (kvmft_net_is_usable(&net->queues[i]))
			kvmft_net_interrupt(&net->queues[i]);
}

static void change(struct kvmft_net *net, enum kvmft_net_phase phase)
{
	if (phase == KVMFT_NET_LIVE && net->phase == KVMFT_NET_REPLAY)
		go_live(net);
	else if (phase == KVMFT_NET_STOPPED || net->phase == KVMFT_NET_DRAIN)
		kvmft_net_drop(net, U64_MAX);
	set_phase(net, phase);
	work_all(net);
}

void kvmft_net_release(struct kvmft_vm *vm, enum kvmft_net_phase phase)
{
	struct kvmft_net *net = NULL;

	while ((net = next_net(is_of, vm, net))) {
		mutex_lock(&net->lock);
		if (net->vm == vm)
			change(net, phase);
		mutex_unlock(&net->lock);
	}
}

static bool has_to_send(struct kvmft_net *net, const struct kvmft_vm *vm)
{
	bool has;

	mutex_lock(&net->lock);
	has = net->vm == vm && kvmft_net_may_send(net);
	mutex_unlock(&net->lock);
	return has;
}

void kvmft_net_drain(struct kvmft_vm *vm)
{
	unsigned long end = jiffies + DRAIN_TIMEOUT;
	struct kvmft_net *net = NULL;

	while ((net = next_net(is_of, vm, net))) {
		while (has_to_send(net, vm) && time_before(jiffies, end)) {
			kvmft_net_queue_work(&net->send_work, 0);
			flush_delayed_work(&net->send_work);
			/* Until a tap that takes none does again. */
			if (has_to_send(net, vm))
				schedule_timeout_uninterruptible(1);
		}
	}
}

struct kvmft_net *kvmft_net_create(void)
{
	struct kvmft_net *net = kvzalloc(sizeof(*net), GFP_KERNEL_ACCOUNT);

	if (!net)
		return NULL;
	net->rx = kvmalloc(KVMFT_NET_PACKET_MAX, GFP_KERNEL_ACCOUNT);
	if (!net->rx) {
		kvfree(net);
		return NULL;
	}
	kref_init(&net->ref);
	mutex_init(&net->lock);
	spin_lock_init(&net->held_lock);
	kvmft_held_init(&net->held);
	net->memory.read = kvmft_net_read;
	INIT_DELAYED_WORK(&net->rx_work, kvmft_net_receive_work);
	INIT_DELAYED_WORK(&net->tx_work, kvmft_net_transmit_work);
	INIT_DELAYED_WORK(&net->send_work, kvmft_net_send_work);
	mutex_lock(&nets_lock);
	net->id = ++last_id;
	list_add_tail(&net->node, &nets);
	mutex_unlock(&nets_lock);
	return net;
}

void kvmft_net_destroy(struct kvmft_net *net)
{
	int i;

	mutex_lock(&nets_lock);
	list_del(&net->node);
	mutex_unlock(&nets_lock);
	mutex_lock(&net->lock);
	set_phase(net, KVMFT_NET_STOPPED);
	for (i = 0; i < KVMFT_NET_QUEUES; i++) {
		stop(net, i);
		unwatch(&net->queues[i].kick);
	}
	mutex_unlock(&net->lock);
	/* Nobody queues them any more but they themselves. */
	cancel_delayed_work_sync(&net->rx_work);
	cancel_delayed_work_sync(&net->tx_work);
	cancel_delayed_work_sync(&net->send_work);
	kvmft_net_drop(net, U64_MAX);
	for (i = 0; i < KVMFT_NET_QUEUES; i++) {
		if (net->queues[i].call)
			eventfd_ctx_put(net->queues[i].call);
		if (net->queues[i].err)
			eventfd_ctx_put(net->queues[i].err);
	}
	if (net->out)
		fput(net->out);
	kref_put(&net->ref, net_free);
}

int kvmft_net_init(void)
{
	net_wq = alloc_workqueue("kvmft_net", WQ_UNBOUND | WQ_HIGHPRI, 0);
	return net_wq ? 0 : -ENOMEM;
}

void kvmft_net_exit(void)
{
	destroy_workqueue(net_wq);
}

