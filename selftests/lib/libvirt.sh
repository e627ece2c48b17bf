# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Stock libvirt in an emulated host, without systemd, D-Bus or cgroups.  Sourced behind host.sh;
# $scratch is set before any of these is called.

# shellcheck disable=SC2034,SC2154 # alive is for until_true; root and scratch are the script's

answers() { virsh -q list >/dev/null 2>&1; }

# start_libvirtd: until the script ends
start_libvirtd() {
	local daemon

	# As Debian's libvirt-daemon-system makes them; libvirt looks for the user, and is told another
	grep -q ^libvirt-qemu: /etc/group || echo libvirt-qemu:x:64055: >>/etc/group
	grep -q ^libvirt-qemu: /etc/passwd ||
		echo libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin >>/etc/passwd
	mkdir -p /etc/libvirt /run/libvirt /var/{log,lib,cache}/libvirt/qemu
	printf '%s\n' 'user = "root"' 'group = "root"' 'security_driver = "none"' 'namespaces = [ ]' \
		'cgroup_controllers = [ ]' 'stdio_handler = "file"' 'dynamic_ownership = 0' \
		'remember_owner = 0' >/etc/libvirt/qemu.conf
	LIBVIRT_LOG_OUTPUTS=3:stderr libvirtd >"$scratch/libvirtd" 2>&1 </dev/null &
	daemon=$!
	alive=$daemon
	until_true answers || {
		remark libvirtd <"$scratch/libvirtd"
		bail_out "libvirtd does not answer"
	}
	alive=
}

# start_domain NAME TAP ARGS: the test guest, its first instruction still to come
start_domain() {
	"$root/scripts/linux-guest/domain" "$1" --console "$scratch/$1" --monitor "$scratch/$1.qmp" \
		--tap "$2" --append "$3" >"$scratch/$1.xml" &&
		virsh -q create --paused "$scratch/$1.xml" 2>&1 | remark virsh &&
		cp "/run/libvirt/qemu/$1.pid" "$scratch/$1.pid" && return
	tail -n 5 "/var/log/libvirt/qemu/$1.log" | remark "$1"
	return 1
}
