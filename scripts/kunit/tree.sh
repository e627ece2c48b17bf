# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by the KUnit builds: a copy of the pure code that a kernel build can
# own. Copies, not links, and only of what changed: the time stamps then follow
# the content, so that one build directory serves several checkouts.

root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")

say() { printf 'kunit: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# copy_changed FROM TO: copy a file unless the content is there already
copy_changed() {
	cmp -s "$1" "$2" || { mkdir -p "${2%/*}" && cp "$1" "$2"; }
}

# sync_tree DIR: make DIR hold kvmft/'s sources, include/ and the KUnit Kbuild
sync_tree() {
	local dir=$1 f
	local -A wanted=()

	for f in "$root"/kvmft/*.[ch] "$root/kvmft/Kbuild.pure"; do
		[ -e "$f" ] && wanted[${f##*/}]=$f
	done
	while IFS= read -r f; do
		wanted[$f]=$root/$f
	done < <(cd "$root" && find include -name '*.h')
	wanted[Kbuild]=$root/scripts/kunit/Kbuild.in
	wanted[Kconfig]=$root/scripts/kunit/Kconfig

	mkdir -p "$dir"
	while IFS= read -r f; do
		[ -n "${wanted[$f]-}" ] || rm -f "$dir/$f"
	done < <(cd "$dir" && find . -type f \( -name '*.[ch]' ! -name '*.mod.c' -o -name 'K*' \) -printf '%P\n')
	for f in "${!wanted[@]}"; do
		copy_changed "${wanted[$f]}" "$dir/$f"
	done
}

# test_sources: the *_test.c that Kbuild.pure lists, after checking that it lists all of them
test_sources() {
	local f name listed missing=()

	listed=$(make -s -f - <<-END
		include $root/kvmft/Kbuild.pure
		\$(info \$(kvmft-test-y))
		all: ;
		END
	)
	for f in "$root"/kvmft/*_test.c; do
		[ -e "$f" ] || continue
		name=${f##*/}
		[[ " $listed " == *" ${name%.c}.o "* ]] || missing+=("$name")
	done
	[ ${#missing[@]} -eq 0 ] ||
		die "kvmft/Kbuild.pure does not list ${missing[*]/%.c/.o} in kvmft-test-y: add it"
	for name in $listed; do
		f=$root/kvmft/${name%.o}.c
		[ -e "$f" ] || die "kvmft/Kbuild.pure lists $name but kvmft/${name%.o}.c does not exist"
		echo "$f"
	done
}
