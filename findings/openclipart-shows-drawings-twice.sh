#!/usr/bin/env bash
# Debian's openclipart-png 1:0.18+dfsg-19 as a data set of folders: over a thousand entries of its category folders are symbolic
# links to a drawing of another folder. Read as class folders by a tool that follows links, the same pixels stand under two
# classes, and a random split puts copies of training images into the test set.
#
# Seen: 1221 links among the PNG folders, beside 6900 files, of which no two are equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -o APT::Sandbox::User=root openclipart-png=1:0.18+dfsg-19 > /dev/null
dpkg-deb -x openclipart-png_*.deb tree
cd tree/usr/share/openclipart/png
links=$(find . -type l | wc -l)
files=$(find . -type f -name '*.png' | wc -l)
equal=$(find . -type f -name '*.png' -print0 | xargs -0 md5sum | cut -d ' ' -f 1 | sort | uniq -d | wc -l)
echo "links $links, files $files, equal $equal"
test "$links" -gt 1000
test "$equal" -eq 0
