# shellcheck shell=bash
# Runs the stages of tests/run and counts what they tell. Sourced by tests/run, after deploy/local/lib.sh.
#
# A stage is a function stage_NAME ('-' in the name becomes '_'). It runs in a process group of its own with
# its output in $LOGS/NAME.log, and tells its tests with count_*. One that told nothing counts as
# one test, passed or failed by its exit code; one that failed but told no failure counts one failure
# too, so that a suite that did not even start is never green.
#
# Stages can be prepared: they run one after the other in the background, builds and checks at the lowest priority,
# while stages that mostly wait are in front. When their turn comes, what is left of them is waited for.

PASSED=0 FAILED=0 SKIPPED=0
FAILED_STAGES=()
declare -A STAGE_RESULT=() # NAME -> passed, failed or skipped
STAGE_GROUP=""
PREPARING_GROUP=""

# prepare NAME...: starts these stages in the background, in this order.
prepare() {
  (($# > 0)) || return 0
  mkdir -p "$WORK/prepared"
  local name
  for name in "$@"; do
    : >"$WORK/prepared/$name.wanted"
    : >"$WORK/$name.counts"
  done
  set -m
  (
    trap 'exit 130' INT
    for name in "$@"; do
      # shellcheck disable=SC2030 # for this stage alone
      STAGE_COUNTS=$WORK/$name.counts
      begin=$(now_ms) status=0
      (
        [[ $name != build-* && $name != check-* ]] || renice -n 19 -p "$BASHPID" >/dev/null
        "stage_${name//-/_}"
      ) >"$LOGS/$name.log" 2>&1 </dev/null || status=$?
      printf '%s %s\n' "$status" "$(($(now_ms) - begin))" >"$WORK/prepared/$name.new"
      mv "$WORK/prepared/$name.new" "$WORK/prepared/$name"
    done
  ) &
  PREPARING_GROUP=$!
  set +m
}

# prepared NAME: waits for a stage that is being prepared; status and milliseconds on stdout. It can end without
# having got that far.
prepared() {
  while [[ ! -f $WORK/prepared/$1 ]]; do
    kill -0 -- "-$PREPARING_GROUP" 2>/dev/null || [[ -f $WORK/prepared/$1 ]] || {
      printf '1 0\n'
      return 0
    }
    sleep 0.2
  done
  cat "$WORK/prepared/$1"
}

# count N-PASSED N-FAILED [N-SKIPPED]: called by stages.
count() {
  # shellcheck disable=SC2031
  printf '%s %s %s\n' "$1" "$2" "${3:-0}" >>"$STAGE_COUNTS"
}

# count_junit FILE: the tests of a JUnit report (ctest's or pytest's); a report without tests is a failure.
count_junit() {
  local counts
  counts=$(python3 - "$1" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
passed = failed = skipped = 0
for case in tree.parse(sys.argv[1]).iter("testcase"):
    if case.find("failure") is not None or case.find("error") is not None:
        failed += 1
    elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        skipped += 1
    else:
        passed += 1
print(passed, failed, skipped)
PYTHON
  ) || return 1
  if [[ $counts == "0 0 0" ]]; then
    printf 'no tests found\n'
    return 1
  fi
  # shellcheck disable=SC2086 # three numbers
  count $counts
}

# stage_seconds MS
stage_seconds() {
  printf '%d.%d s' "$(($1 / 1000))" "$(($1 % 1000 / 100))"
}

# run_stage NAME [NEEDED-STAGE...]: a stage whose needed stages did not pass is skipped.
run_stage() {
  local name=$1 needed begin elapsed status=0 passed failed skipped result
  shift
  for needed in "$@"; do
    if [[ ${STAGE_RESULT[$needed]:-} != passed ]]; then
      STAGE_RESULT[$name]=skipped
      SKIPPED=$((SKIPPED + 1))
      printf '%-24s skipped: %s did not pass\n' "$name" "$needed"
      return 0
    fi
  done

  STAGE_COUNTS=$WORK/$name.counts
  [[ ! -t 1 ]] || printf '%-24s ...' "$name"
  if [[ -f $WORK/prepared/$name.wanted ]]; then
    read -r status elapsed < <(prepared "$name")
  else
    : >"$STAGE_COUNTS"
    begin=$(now_ms)
    set -m # a process group of its own, which an interrupt can end as a whole
    ("stage_${name//-/_}") >"$LOGS/$name.log" 2>&1 </dev/null &
    STAGE_GROUP=$!
    set +m
    wait "$STAGE_GROUP" || status=$?
    STAGE_GROUP=""
    elapsed=$(($(now_ms) - begin))
  fi
  elapsed=$(stage_seconds "$elapsed")

  read -r passed failed skipped < <(awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }' "$STAGE_COUNTS")
  if ((status != 0 && failed == 0)); then
    failed=1
  elif ((status == 0 && passed + failed + skipped == 0)); then
    passed=1
  fi
  PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
  result="$passed passed"
  ((failed == 0)) || result+=", $failed failed"
  ((skipped == 0)) || result+=", $skipped skipped"

  [[ ! -t 1 ]] || printf '\r'
  if ((failed > 0)); then
    STAGE_RESULT[$name]=failed
    FAILED_STAGES+=("$name")
    printf '%-24s FAILED %10s  %s\n' "$name" "$elapsed" "$result"
    tail -n 60 "$LOGS/$name.log" | sed 's/^/  | /'
  else
    STAGE_RESULT[$name]=passed
    printf '%-24s ok     %10s  %s\n' "$name" "$elapsed" "$result"
  fi
}

# end_stage: ends the stage that runs and those that are being prepared; pytest and ctest take SIGINT as a reason to
# clean up.
end_stage() {
  end_group "$STAGE_GROUP"
  end_group "$PREPARING_GROUP"
  STAGE_GROUP="" PREPARING_GROUP=""
}

# end_group GROUP
end_group() {
  [[ -n $1 ]] || return 0
  kill -INT -- "-$1" 2>/dev/null || true
  wait_until 20 group_gone "$1" || kill -KILL -- "-$1" 2>/dev/null || true
}

group_gone() {
  ! kill -0 -- "-$1" 2>/dev/null
}
