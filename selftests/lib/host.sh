# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What this directory's shell scripts share, which run in an emulated host and print TAP.  Sourced
# with $root set to the tree.
#
# KVMFT_KO=FILE is the module that load_kvmft loads.

# shellcheck disable=SC2034 # used by those who source this
ctl=${root:?}/scripts/kvmftctl
sysfs=/sys/class/misc/kvmft
at_most=600	# seconds until something that is waited for
alive=		# the process without which there is nothing to wait for
count=0
failed=0

# result STATUS NAME: 0 is good
result() {
	count=$((count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $count - $2"
	else
		echo "not ok $count - $2"
		failed=$((failed + 1))
	fi
	return "$1"
}

# remark [WHO]: what is read becomes remarks
# shellcheck disable=SC2120 # some give no WHO
remark() { sed -u "s/^/# ${1:+$1: }/"; }

bail_out() {
	echo "Bail out! $*"
	exit 1
}

# until_true COMMAND...: wait for it, but not in vain
until_true() {
	local deadline=$((SECONDS + at_most))

	until "$@"; do
		[ $SECONDS -lt $deadline ] && { [ -z "$alive" ] || kill -0 "$alive" 2>/dev/null; } || return 1
		sleep 0.1
	done
}

# load_kvmft: unless it is loaded
load_kvmft() {
	[ -e /dev/kvm ] || modprobe kvm_amd
	[ -d /sys/module/kvmft ] || insmod "${KVMFT_KO:-$root/kvmft.ko}" || bail_out "the module can not be loaded"
}

# make_disk: $disk is one of scsi_debug's
make_disk() {
	modprobe -a sd_mod scsi_debug || bail_out "there is no scsi_debug"
	disk=$(find /sys/bus/pseudo/drivers/scsi_debug/ -follow -maxdepth 6 -path '*/block/sd*' 2>/dev/null | head -n 1)
	[ -n "$disk" ] || bail_out "scsi_debug has no disk"
	disk=/dev/${disk##*/}
}

# make_key FILE...: the same in each
make_key() {
	local secret
	secret=$(head -c 32 /dev/urandom | base64)
	(umask 077; for file; do echo "$secret" >"$file"; done)
}

# none_left: the last result
none_left() {
	[ "$(cat "$sysfs/sessions")" = 0 ]
	result $? "no session is left"
}
