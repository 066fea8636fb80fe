#!/usr/bin/env bash
# Build the image of the Dockerfile without Docker, from a clean Debian, and run it as the compose stack confines it.
#
#   scripts/check-image.sh            as root; needs the packages debootstrap and buildah, 20 GB of disk, and PyPI
#
#   IMAGE_PYTHON   interpreter that stands in for that of PYTHON_IMAGE, python3.12 by default; its prefix becomes /usr/local
#   WHEELS         folder in which pip looks for wheels, too
#   SUITE          of Debian, trixie by default
#   WORK           folder of the base and of what is built, build/check-image by default; what is there is used again
#
# buildah carries out the Dockerfile itself, .dockerignore included. Only the base image is a stand-in.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${IMAGE_PYTHON:-python3.12}
SUITE=${SUITE:-trixie}
WORK=$(realpath -m "${WORK:-build/check-image}")
# What python:3.12-slim has beside Debian's smallest system: what its Python is linked with, and three of its choice.
LIBRARIES=libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8t64,libsqlite3-0,libssl3t64,libuuid1,zlib1g
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

fail() { echo "check-image: $*" >&2; exit 2; }
say() { echo "── $*"; }
builder() { buildah --root "$WORK/storage" --runroot "$WORK/run" --storage-driver overlay "$@"; }

[ "$(id -u)" = 0 ] || fail "only root may make a clean root."
for program in debootstrap buildah "$PYTHON"; do
    command -v "$program" >/dev/null || fail "there is no $program (IMAGE_PYTHON=$PYTHON)."
done
export BUILDAH_ISOLATION=chroot # for the build: it needs no daemon and no runtime; the network is the machine's
mkdir -p "$WORK"
version=$("$PYTHON" -c 'import platform; print(platform.python_version())')
base=localhost/python-slim:$version-$SUITE
mounts=()
[ -z "${WHEELS:-}" ] || mounts=(--volume "$(realpath "$WHEELS"):/wheels:ro")

base_root() {
    local root=$1 prefix
    debootstrap --variant=minbase --include="ca-certificates,netbase,tzdata,$LIBRARIES" "$SUITE" "$root" >"$WORK/debootstrap.log"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    prefix=$("$PYTHON" -c 'import sys; print(sys.base_prefix)')
    tar -C "$prefix" --exclude='site-packages/*' --exclude=__pycache__ --exclude='./lib/python*/test' -cf - ./bin ./lib \
        | tar -C "$root/usr/local" --no-same-owner -xf -
    ln -sf "python${version%.*}" "$root/usr/local/bin/python"
    cp "$CERTIFICATES" "$root$CERTIFICATES" # whoever stands between this machine and PyPI is known to it
    printf '[global]\ncert = %s\n' "$CERTIFICATES" >"$root/etc/pip.conf"
    [ -z "${WHEELS:-}" ] || printf 'find-links = /wheels\n' >>"$root/etc/pip.conf"
    chroot "$root" /sbin/ldconfig
    chroot "$root" python -m ensurepip --default-pip >/dev/null
    chroot "$root" python -c 'import bz2, ctypes, lzma, readline, sqlite3, ssl, uuid, zlib'
}

if ! builder inspect --type image "$base" >/dev/null 2>&1; then
    say "base: Debian $SUITE with Python $version"
    rm -rf "$WORK/base"
    base_root "$WORK/base"
    container=$(builder from scratch)
    builder add --quiet "$container" "$WORK/base" / >/dev/null
    builder config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 \
        --cmd python3 "$container"
    builder commit --quiet --rm "$container" "$base" >/dev/null
    rm -rf "$WORK/base"
fi

say "build: the Dockerfile, over $base"
builder bud --pull-never --build-arg PYTHON_IMAGE="$base" "${mounts[@]}" --tag muster:local .

container=$(builder from --pull-never muster:local)
trap 'builder rm "$container" >/dev/null' EXIT
root=$(builder mount "$container")
image() { builder inspect --type image --format "{{$1}}" muster:local; }
user=$(image .OCIv1.Config.User)
id=$(chroot "$root" id -u "$user")
say "run: user $user ($id), as docker-compose.yml confines it: a read-only root without capabilities, offline"

# As `docker run` with what x-confined and x-muster of docker-compose.yml ask for: environment of the image, its folder.
confined() {
    unshare --mount --net --pid --fork bash -euc '
        root=$1 id=$2 folder=$3 data=$4 pool=$5; shift 5
        mount --bind "$root" "$root"
        mkdir -p "$root/pool"
        mount --bind "$pool" "$root/pool"
        mount -o remount,bind,ro "$root/pool"
        mount --bind "$data" "$root/data"
        mount -o remount,bind,ro "$root"
        mount -t proc proc "$root/proc"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        mount --rbind /dev "$root/dev"
        cd "$root"
        pivot_root . . # not chroot: whoever is in one may make no namespaces, and the sandbox of code does
        umount --lazy .
        exec setpriv --reuid="$id" --regid="$id" --clear-groups \
            --no-new-privs --bounding-set=-all --inh-caps=-all env --ignore-environment --chdir="$folder" "$@"
    ' bash "$root" "$id" "$(image .OCIv1.Config.WorkingDir)" "$WORK/data" "$PWD/examples/zoo" "${variables[@]}" "$@"
}
mapfile -t variables < <(image 'range .OCIv1.Config.Env}}{{.}}{{"\n"}}{{end')
variables+=("HOME=/home/$user" MUSTER_CONFIG=/pool/pool.yaml MUSTER_DATA_DIR=/data)
rm -rf "$WORK/data"
install -d -o "$id" -g "$id" "$WORK/data"
confined muster --version
confined muster config check
confined muster ask --composition reverse "Please spell 'xngoby' backwards." | grep ybognx
mapfile -t command < <(image 'range .OCIv1.Config.Cmd}}{{.}}{{"\n"}}{{end')
confined "${command[@]}" --help >/dev/null
say "done: Python $version, $(du -sh "$root" | cut -f1); it starts '${command[*]}'"
