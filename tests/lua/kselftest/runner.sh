#!/bin/sh
# Runs programs and says what became of them as tools/testing/selftests/kselftest/runner.sh does: the output of each
# behind "# ", then a line for the program itself.
echo "TAP version 13"
echo "1..$#"
n=0
for program; do
  n=$((n + 1))
  name="selftests: provium: $(basename "$program")"
  echo "# timeout set to 45"
  echo "# $name"
  sh "$program" >/tmp/output 2>&1
  code=$?
  sed 's/^/# /' /tmp/output
  case $code in
    0) echo "ok $n $name" ;;
    4) echo "ok $n $name # SKIP" ;;
    *) echo "not ok $n $name # exit=$code" ;;
  esac
done
