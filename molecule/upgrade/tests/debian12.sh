#!/bin/sh
# On a Debian 13 host: what Debian 12 had can be installed, and nothing is taken from there unasked.
set -eu
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -s "$file" ]; then sed s/trixie/bookworm/g "$file" >"/etc/apt/sources.list.d/bookworm-${file##*/}"; fi
done
printf 'Package: *\nPin: release n=bookworm*\nPin-Priority: 50\n' >/etc/apt/preferences.d/bookworm
apt-get --quiet=2 update
