#!/bin/sh
# Process 1 of the outer guest. Runs the steps that the word nested.steps= of the kernel's command line names,
# and tells the host where each begins and how it ended.
export PATH=/bin HOME=/root TERM=linux XDG_CACHE_HOME=/cache
/bin/busybox mkdir -p /proc /sys /dev /tmp /root
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
exec </dev/console >/dev/console 2>&1
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm

# The value of a word `$1=value` of the command line, plus signs as blanks.
word() {
  for w in $(cat /proc/cmdline); do
    case $w in "$1"=*) echo "${w#*=}" | tr + ' ' ;; esac
  done
}

step() {
  echo "@@ begin $1"
  "step_$1"
  echo "@@ end $1 $?"
}

plinth() { node /plinth/src/cli/main.ts "$@"; }
# The image's machine on KVM; more options may follow.
machine() {
  plinth run --engine kvm --timeout "$(word nested.timeout)" --append "$(word nested.append)" "$@"
}

step_modules() {
  for module in $(cat /modules/order); do
    options=
    [ "$module" = kvm-amd ] && options=$(word nested.kvm_amd)
    # shellcheck disable=SC2086 # several options are several words
    insmod "/modules/$module.ko" $options || return 1
  done
  grep -H . /sys/module/kvm_amd/parameters/npt
  ls -l /dev/kvm
}
step_node() { node --version; }
step_doctor() { plinth doctor; }
step_readme() { node /plinth/examples/hv-hello.ts kvm; }
# Small guests on both engines.
step_programs() { node /plinth/tests/hv/run-programs.ts; }
# A script in place of the shell.
step_exec() { machine --exec 'uname -a; cat /proc/interrupts' </dev/null; }

# The shell as a person uses it: wait for the prompt, type a line, wait for the next prompt.
step_shell() {
  mkfifo /tmp/keys
  : >/tmp/screen
  machine </tmp/keys >/tmp/screen 2>&1 &
  machine=$!
  tail -f /tmp/screen &
  screen=$!
  exec 3>/tmp/keys
  prompts=0
  for line in 'uname -a' 'poweroff -f'; do
    prompts=$((prompts + 1))
    while [ "$(grep -c '^plinth:.*# ' /tmp/screen)" -lt $prompts ]; do
      kill -0 $machine 2>/dev/null || break 2
      sleep 1
    done
    echo "$line" >&3
  done
  wait $machine
  code=$?
  exec 3>&-
  sleep 2
  kill $screen
  return $code
}
# The machine moved between the engines at its shell.
step_switch() { node /plinth/tests/hv/run-switches.ts --timeout "$(word nested.timeout)"; }

for name in $(word nested.steps); do step "$name"; done
poweroff -f
