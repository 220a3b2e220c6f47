#!/bin/sh
# Publishes a build's archive as a site in a bucket of Amazon S3; see README.md beside it.
set -eu
image=s3-site
. "$(dirname "$0")/../lib/steps.sh"
. "$(dirname "$0")/../lib/aws.sh"

of_build SITE_ARCHIVE
of_environment S3_BUCKET
aws_variables
read_value SITE_ARCHIVE_SHA256
optional S3_PREFIX
optional S3_BUCKET_OWNER
optional SITE_ASSETS
optional SITE_ASSETS_MAX_AGE 31536000
optional CLOUDFRONT_DISTRIBUTION_ID
fits SITE_ARCHIVE 2000 'A-Za-z0-9._/:@+=,~?&%-' 'address of an archive'
fits SITE_ARCHIVE_SHA256 64 'a-f0-9' 'SHA-256 checksum, 64 digits'
fits S3_BUCKET 63 'a-z0-9.-' 'name of a bucket'
folder S3_PREFIX
fits S3_BUCKET_OWNER 12 '0-9' "account's number"
folder SITE_ASSETS
fits SITE_ASSETS_MAX_AGE 10 '0-9' 'number of seconds'
fits CLOUDFRONT_DISTRIBUTION_ID 32 'A-Z0-9' "distribution's id"
health_variables
limit POLL_SECONDS 5
yes_or_no ROLLBACK_ON_FAILURE
case ${SITE_ARCHIVE:-} in
  '' | https://*.tar.gz | https://*.tgz | s3://*.tar.gz | s3://*.tgz | https://*.tar.gz'?'* | https://*.tgz'?'*) ;;
  *) problem 'SITE_ARCHIVE is no https://… or s3://… of a .tar.gz' ;;
esac
[ -z "$SITE_ARCHIVE_SHA256" ] || [ "${#SITE_ARCHIVE_SHA256}" -eq 64 ] || problem 'SITE_ARCHIVE_SHA256 has not 64 digits'
checked
aws_access
prefix=${S3_PREFIX#/}
prefix=${prefix%/}
target=s3://$S3_BUCKET${prefix:+/$prefix}

step 'Fetching the archive'
case $SITE_ARCHIVE in
  s3://*) as_role s3 cp --only-show-errors "$SITE_ARCHIVE" "$scratch/site.tar.gz" ;;
  *)
    # Its query may be a key.
    printf 'url = "%s"\n' "$SITE_ARCHIVE" >"$work/archive"
    run curl -q -fsS --proto =https --proto-redir =https -L --retry 2 --max-time 600 -o "$scratch/site.tar.gz" -K "$work/archive"
    ;;
esac || fail "the archive can't be fetched. Nothing was touched."
[ -s "$scratch/site.tar.gz" ] || fail "the archive is empty. Nothing was touched."
found=$(sha256sum <"$scratch/site.tar.gz")
found=${found%% *}
echo "$found"
[ -z "$SITE_ARCHIVE_SHA256" ] || [ "$found" = "$SITE_ARCHIVE_SHA256" ] ||
  fail "its checksum should be $SITE_ARCHIVE_SHA256. Nothing was touched."
mkdir "$scratch/site"
run tar -xzf "$scratch/site.tar.gz" -C "$scratch/site" --no-same-owner || fail "it is no .tar.gz, or there is no room for it. Nothing was touched."
# An archive with one folder, as most are made, is that folder.
site=$scratch/site
find "$site" -mindepth 1 -maxdepth 1 >"$work/top"
if [ "$(wc -l <"$work/top")" -eq 1 ] && read -r inner <"$work/top" && [ -d "$inner" ] && [ ! -L "$inner" ]; then
  site=$inner
fi
[ -f "$site/index.html" ] || fail 'the archive has no index.html at its top. Nothing was touched.'
# A link could lead out of the archive, to the keys beside it.
odd=$(find "$site" ! -type f ! -type d | head -n 1)
[ -z "$odd" ] || fail "the archive holds something that is neither file nor folder: ${odd#"$site"/}. Nothing was touched."
find "$site" -type f | wc -l | sed 's/^ *//; s/$/ files/'

step "Looking at $target"
set -- s3api head-bucket --bucket "$S3_BUCKET"
[ -z "$S3_BUCKET_OWNER" ] || set -- "$@" --expected-bucket-owner "$S3_BUCKET_OWNER"
aws_json "$work/head.json" "$@" || fail "the bucket $S3_BUCKET is not there, or not ours${S3_BUCKET_OWNER:+ (of account $S3_BUCKET_OWNER)}. Nothing was touched."
mkdir "$scratch/before"
before=$(aws_json "$work/index.json" s3api head-object --bucket "$S3_BUCKET" --key "${prefix:+$prefix/}index.html" 2>/dev/null &&
  jq -r '"index.html of \(.LastModified)"' "$work/index.json") || before='no index.html'
echo "$target has $before"
assets=${SITE_ASSETS:-}
assets=${assets%/}
# Without such a folder nothing is left out: no path begins so.
short_lived="${assets:-/}/*"
if [ -n "$ROLLBACK_ON_FAILURE" ]; then
  as_role s3 sync --only-show-errors --exclude "$short_lived" "$target" "$scratch/before" ||
    fail "what is there can't be read. Nothing was touched."
fi

# Long-lived files have names of their own for each version: they are there before anything points to them, and stay for
# those who still read the version before.
publish() { # publish FOLDER
  if [ -n "$assets" ] && [ -d "$1/$assets" ]; then
    as_role s3 sync --only-show-errors --cache-control "public, max-age=$SITE_ASSETS_MAX_AGE, immutable" \
      "$1/$assets" "$target/$assets" || return 1
  fi
  # Of two files with one size and time `sync` would leave the old one: what is short-lived goes up each time.
  as_role s3 cp --recursive --only-show-errors --cache-control 'no-cache' --exclude "$short_lived" --exclude '*.html' "$1" "$target" &&
    as_role s3 cp --recursive --only-show-errors --cache-control 'no-cache' --exclude '*' --include '*.html' --exclude index.html "$1" "$target" &&
    as_role s3 cp --only-show-errors --cache-control 'no-cache' "$1/index.html" "$target/index.html"
}

invalidate() {
  [ -n "$CLOUDFRONT_DISTRIBUTION_ID" ] || return 0
  step "Telling CloudFront $CLOUDFRONT_DISTRIBUTION_ID"
  aws_json "$work/invalidation.json" cloudfront create-invalidation --distribution-id "$CLOUDFRONT_DISTRIBUTION_ID" \
    --paths "/${prefix:+$prefix/}*" || return 1
  id=$(jq -r .Invalidation.Id "$work/invalidation.json")
  until_then=$(($(date +%s) + WAIT_SECONDS))
  until jq -r .Invalidation.Status "$work/invalidation.json" | grep -qix completed; do
    # It was told, and goes on: that is no reason to take the site back.
    [ "$(date +%s)" -lt "$until_then" ] || fail "CloudFront was told, and is not through with it after $WAIT_SECONDS seconds. The site is published."
    run sleep "$POLL_SECONDS"
    aws_json "$work/invalidation.json" cloudfront get-invalidation --distribution-id "$CLOUDFRONT_DISTRIBUTION_ID" --id "$id" || return 1
  done
}

failed() {
  [ -n "$ROLLBACK_ON_FAILURE" ] || fail "$1. $left"
  [ -f "$scratch/before/index.html" ] || fail "$1. There was no site before to put back."
  echo '--- Putting back what was there' >&2
  if ! publish "$scratch/before" >&2 || ! invalidate >&2; then
    fail "$1, and what was there before could not be put back."
  fi
  fail "$1. What was there before was put back."
}

step "Publishing to $target"
left="$target may have some files of this build, and its index.html."
publish "$site" || failed 'the site could not be published'
invalidate || failed 'CloudFront could not be told'
healthy || failed "$(health_place) is not well"
step 'What is there now'
printf '%s: %s → %s\n' "$target" "$before" "${COOLOPS_BUILD_NAME:-$found}"
