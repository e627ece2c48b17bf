// SPDX-License-Identifier: GPL-2.0
#include <asm/processor.h>
#include <asm/tsc.h>

#include "block.h"
#include "channel.h"
#include "hello.h"

void kvmft_hello(struct kvmft_wire_hello *hello, const struct kvmft_channel_config *config)
{
	*hello = (struct kvmft_wire_hello) {
		.version = cpu_to_le32(KVMFT_WIRE_VERSION),
		.log_version = cpu_to_le32(KVMFT_LOG_VERSION),
		.role = cpu_to_le32(config->role),
		.cpu = cpu_to_le32(cpuid_eax(1)),
		.microcode = cpu_to_le32(boot_cpu_data.microcode),
		.tsc_khz = cpu_to_le32(tsc_khz),
		.generation = cpu_to_le64(config->generation),
		.arbiter = cpu_to_le16(config->arbiter),
		.cpuid = cpu_to_le16(config->cpuid),
		.slots = cpu_to_le32(config->slots),
	};
	memcpy(hello->instance, config->instance, sizeof(hello->instance));
	memcpy(hello->session, config->session, sizeof(hello->session));
}
