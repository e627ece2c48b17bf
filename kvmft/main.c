// SPDX-License-Identifier: GPL-2.0
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

#include "chardev.h"
#include "net.h"
#include "selftest.h"
#include "session.h"
#include "symbol.h"
#include "vhost.h"

static int __init kvmft_init(void)
{
	int ret;

	ret = kvmft_symbol_init();
	if (ret)
		return ret;
	ret = kvmft_session_init();
	if (ret)
		return ret;
	ret = kvmft_net_init();
	if (ret)
		goto exit_session;
	ret = kvmft_vhost_init();
	if (ret)
		goto exit_net;
	ret = kvmft_chardev_init();
	if (ret)
		goto exit_vhost;

	ret = kvmft_selftest_run();
	if (ret)
		pr_info("self-test put off (%d): it runs when the first session is made; is kvm_amd loaded?\n",
			ret);
	return 0;

exit_vhost:
	kvmft_vhost_exit();
exit_net:
	kvmft_net_exit();
exit_session:
	kvmft_session_exit();
	return ret;
}

static void __exit kvmft_exit(void)
{
	kvmft_chardev_exit();
	kvmft_vhost_exit();
	kvmft_session_exit();
	kvmft_net_exit();
}

module_init(kvmft_init);
module_exit(kvmft_exit);

MODULE_DESCRIPTION("Fault tolerance for KVM guests by record and replay in lockstep");
MODULE_AUTHOR("The kvmft developers");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
