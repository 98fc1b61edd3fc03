# shellcheck shell=bash disable=SC2153,SC2154
# The Debian packages, in a clean Debian 12 root. Sourced by tests/package/run, which has check, skip and the greeter.

ROOT_SUITE=bookworm

# ---- the root ----

# debian_sources FORMAT: one line for each list of packages of Debian 12 that this machine's apt knows.
debian_sources() {
  apt-get indextargets --format "$1" "Created-By: Packages" "Origin: Debian" | grep -E " $ROOT_SUITE(-[a-z]+)? " | sort -u
}

root_archive() {
  printf '%s/debian-%s-%s.tar' "$LOCKSTEP_CACHE" "$ROOT_SUITE" "$(dpkg --print-architecture)"
}

# The base system as debootstrap makes it, without anything of this machine.
root_make() {
  [[ ! -f $(root_archive) ]] || return 0
  local work site
  site=$(debian_sources "\$(SITE) \$(RELEASE) \$(COMPONENT)" | awk -v suite="$ROOT_SUITE" '$2 == suite { print $1; exit }')
  [[ -n $site ]] || {
    printf "this machine's apt has no source of Debian 12\n"
    return 1
  }
  mkdir -p "$LOCKSTEP_CACHE"
  work=$(mktemp -d "$LOCKSTEP_CACHE/debian.XXXXXX")
  if ! debootstrap --variant=minbase "$ROOT_SUITE" "$work/root" "$site"; then
    rm -rf "$work"
    return 1
  fi
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
  : >"$work/root/etc/apt/sources.list"
  rm -f "$work/root/etc/resolv.conf" "$work/root/etc/hostname"
  tar --create --file "$work/root.tar" --directory "$work/root" --one-file-system . && mv "$work/root.tar" "$(root_archive)"
  rm -rf "$work"
}

# root_begin: unpacks the root into $ROOT, and lets its apt reach what this machine's reaches. Packages that were
# downloaded are kept for the next time.
root_begin() {
  with_lock "$LOCKSTEP_CACHE/lock" root_make || return 1
  mkdir -p "$ROOT" "$LOCKSTEP_CACHE/debian-packages"
  tar --extract --file "$(root_archive)" --directory "$ROOT" || return 1
  debian_sources "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \$(SITE) \$(RELEASE) \$(COMPONENT)" \
    >"$ROOT/etc/apt/sources.list"
  apt-config dump Acquire | grep -E '^Acquire::(http|https|ftp|Retries|Check-Valid)' >"$ROOT/etc/apt/apt.conf.d/90machine" || true
  cp /etc/resolv.conf /etc/hosts "$ROOT/etc/"
  [[ ! -d /etc/apt/auth.conf.d ]] || cp -r /etc/apt/auth.conf.d "$ROOT/etc/apt/"
  if grep -q ' https:' "$ROOT/etc/apt/sources.list"; then
    mkdir -p "$ROOT/etc/ssl/certs" && cp /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/"
  fi
  mount -t proc proc "$ROOT/proc" && mount --bind "$LOCKSTEP_CACHE/debian-packages" "$ROOT/var/cache/apt/archives" || return 1
  in_root apt-get update --quiet
}

# root_end: nothing of it is left; 1 while something is still mounted there.
root_end() {
  local mounted
  for mounted in "$ROOT/var/cache/apt/archives" "$ROOT/proc"; do
    ! mountpoint --quiet "$mounted" || umount "$mounted" || return 1
  done
  rm -rf --one-file-system "$ROOT"
}

in_root() {
  chroot "$ROOT" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# ---- what is tried ----

make_packages() {
  "$LOCKSTEP_ROOT/deploy/packages/make-debs" --output "$WORK/debs" --jobs "$jobs" &&
    [[ $(find "$WORK/debs" -name '*.deb' | wc -l) == 3 ]]
}

lintian_is_content() {
  lintian --fail-on error,warning --tag-display-limit 0 "$WORK"/debs/*.deb
}

apt_install() {
  in_root apt-get install --yes --quiet --no-install-recommends -o APT::Keep-Downloaded-Packages=true "$@"
}

install_library_and_services() {
  local package
  mkdir -p "$ROOT/debs"
  for package in liblockstep-rpc0 liblockstep-dev lockstep-services; do
    cp "$WORK/debs/$package"_*.deb "$ROOT/debs/$package.deb" || return 1
  done
  apt_install /debs/liblockstep-rpc0.deb /debs/lockstep-services.deb || return 1
  # The library alone brings no compiler, and neither asks for what only the other needs.
  ! in_root dpkg --status gcc liblockstep-dev >/dev/null 2>&1
}

install_development() {
  apt_install /debs/liblockstep-dev.deb gcc libc6-dev make cmake
}

# greeter_in_root NAME COMMAND...: builds it with the command, in a folder of its own, and tries it.
greeter_in_root() {
  local folder=/src/$1
  shift
  mkdir -p "$ROOT/src"
  copy_project "$ROOT$folder" && in_root sh -c "cd $folder && $*" || return 1
  # shellcheck disable=SC2034 # try_greeter's
  enter=(chroot "$ROOT")
  if [[ -x $ROOT$folder/build/greeter-server ]]; then
    folder+=/build
  fi
  try_greeter "$folder"
}

services_have_users() {
  local service
  for service in order-service delivery-service; do
    in_root id "$service" || return 1
    expect "/usr/sbin/nologin" bash -c "grep '^$service:' '$ROOT/etc/passwd' | cut -d: -f7" || return 1
  done
}

services_run() {
  local service
  for service in order-service delivery-service; do
    expect "$service $(sed -n 's/^project(lockstep VERSION \([0-9.]*\).*/\1/p' "$LOCKSTEP_ROOT/CMakeLists.txt")" \
      chroot "$ROOT" "$service" --version || return 1
    in_root "$service" --help >"$WORK/help" && grep -q -- --listen-address "$WORK/help" || return 1
  done
}

# start_service SERVICE ASSIGNMENTS: as its unit would, by its user and with its settings, but on free ports.
start_service() {
  exec chroot --userspec="$1:$1" "$ROOT" /bin/sh -c "set -a; . /etc/lockstep/$1.env
    LISTEN_ADDRESS=127.0.0.1:0 OPERATIONS_ADDRESS= METRICS_ADDRESS=127.0.0.1:0 $2
    exec /usr/bin/$1"
}

says() {
  grep -q "$1" "$2"
}

# A service by hand: it says what it lacks, stays, and ends well; a bad setting ends it, and is named.
service_says_what_it_lacks() {
  local service=$1 log=$WORK/$1.log status=0
  start_service "$service" PGPORT=1 >"$log" 2>&1 &
  SERVER=$!
  trap 'kill -KILL "$SERVER" 2>/dev/null || true' EXIT
  wait_until 20 says 'the database cannot be used.*port 1 failed' "$log" || status=1
  [[ $(stat --format %U "/proc/$SERVER") != root ]] || status=1
  kill -TERM "$SERVER" || status=1
  wait_until 20 server_ended || status=1
  wait "$SERVER" || status=1
  if ((status != 0)); then
    cat "$log"
    return 1
  fi
  timeout 20 chroot "$ROOT" env RPC_THREADS=none "/usr/bin/$service" >"$log" 2>&1 || status=$?
  ((status == 78)) && grep -q RPC_THREADS "$log"
}

units_are_sound() {
  local service
  for service in order-service delivery-service; do
    # What LoadCredential= reads is the operator's to make; verify looks at programs and words.
    in_root systemd-analyze verify --man=no "/usr/lib/systemd/system/$service.service" || return 1
    in_root systemd-analyze security --offline=true --no-pager --threshold=15 "/usr/lib/systemd/system/$service.service" || return 1
    [[ ! -e $ROOT/etc/systemd/system/multi-user.target.wants/$service.service ]] || return 1
    ! grep -rIq -i 'password=' "$ROOT/etc/lockstep" || return 1
  done
}

# What the operator wrote stays when the package is installed again.
settings_are_kept() {
  printf '# changed\n' >>"$ROOT/etc/lockstep/order-service.env"
  in_root dpkg --install /debs/lockstep-services.deb </dev/null || return 1
  [[ $(tail -n 1 "$ROOT/etc/lockstep/order-service.env") == "# changed" ]]
}

purge_leaves_nothing() {
  local packages=(liblockstep-dev liblockstep-rpc0 lockstep-services) file
  in_root dpkg --listfiles "${packages[@]}" | grep -i -e lockstep -e order-service -e delivery-service -e protoc-gen | sort -u >"$WORK/files"
  (($(wc -l <"$WORK/files") > 50)) || return 1
  : >"$ROOT/etc/lockstep/order-service-database-password" # as an operator makes it
  in_root apt-get purge --yes --quiet "${packages[@]}" || return 1
  while read -r file; do
    [[ ! -e $ROOT$file ]] || {
      printf '%s is left\n' "$file"
      return 1
    }
  done <"$WORK/files"
  ! in_root id order-service && ! in_root id delivery-service &&
    ! in_root dpkg --list 'liblockstep*' 'lockstep*' 2>/dev/null | grep -E '^[a-z]+ ' | grep -v '^un'
}

run_root() {
  local program
  for program in debootstrap dpkg-parsechangelog cpack; do
    command -v "$program" >/dev/null || {
      check "the programs for --root" command -v "$program"
      return 0
    }
  done
  check "Debian packages: made" make_packages
  if command -v lintian >/dev/null; then
    check "Debian packages: lintian" lintian_is_content
  else
    skip "Debian packages: lintian" "no lintian"
  fi
  ROOT=$WORK/root
  if ! root_begin >"$WORK/root.log" 2>&1; then
    check "a clean Debian 12 root" tail -n 40 "$WORK/root.log"
    failed=$((failed + 1))
    return 0
  fi
  check "root: apt installs the library and the services" install_library_and_services
  check "root: the services have users of their own" services_have_users
  check "root: the services run" services_run
  check "root: order-service says what it lacks" service_says_what_it_lacks order-service
  check "root: delivery-service says what it lacks" service_says_what_it_lacks delivery-service
  check "root: the units are sound, hardened, and not enabled" units_are_sound
  check "root: apt installs liblockstep-dev" install_development
  check "root: greeter by make, shared" greeter_in_root make-shared make
  check "root: greeter by make, static" greeter_in_root make-static make STATIC=yes
  check "root: greeter by CMake, shared" greeter_in_root cmake-shared \
    'cmake -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build'
  check "root: greeter by CMake, static" greeter_in_root cmake-static \
    'cmake -B build -DCMAKE_BUILD_TYPE=Release -DGREETER_STATIC=ON && cmake --build build'
  check "root: settings are kept" settings_are_kept
  check "root: purge leaves nothing" purge_leaves_nothing
  root_end
  ROOT=""
}
