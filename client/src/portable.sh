#!/bin/sh
# coolops for CI as a script: the commands build:new… of the program, where there is none for this machine. Needs curl, or
# GNU wget; awk; git where there is a checkout. Made of the same table of CI systems: client/src/portable.rs.
#
# Everything is in functions, so that a download of this script that breaks off runs nothing.
set -eu
LC_ALL=C
export LC_ALL
umask 077
# No value is ever the pattern of a file's name.
set -f
version='@VERSION@'
newline='
'
return=$(printf '\r')

say() {
  printf '%s\n' "$*" >&2
}

fail() {
  say "$*"
  exit 1
}

usage() {
  cat <<'HELP'
Announce builds to coolops from CI.

Usage: coolops build:new [OPTIONS] <BUILD NAME>
       coolops build:new:<CI> [OPTIONS]

  <CI>  auto, @NAMES@

  -p, --param <KEY=VALUE>     A variable for the deployment's container; may be given many times [env: COOLOPS_PARAMS, one in each line]
  -m, --metadata <KEY=VALUE>  Something to show in the message; may be given many times [env: COOLOPS_METADATA, one in each line]
  -n, --name <NAME>           The build's name [default: branch-number]
      --repository <URL>      The address of the repository that it was built of
      --commit <HASH>         The hash of the commit that it was built of
  -t, --token <TOKEN>         The project's token [env: COOLOPS_PROJECT_API_TOKEN]
      --url <URL>             Where coolops is reached [env: COOLOPS_URL]
      --dry-run               Print what would be sent, and send nothing; names and values are checked by coolops alone
  -q, --quiet                 Don't say that it is announced
HELP
}

# wrong WORDS…: the command line is.
wrong() {
  say "error: $*"
  say ''
  say "For more information, try '--help'."
  exit 2
}

# has NAME…: whether these variables are set, and not empty.
has() {
  for of_name in "$@"; do
    eval "[ -n \"\${$of_name:-}\" ]" || return 1
  done
}

# first NAME…: what the first of these says that is set.
first() {
  for of_name in "$@"; do
    if has "$of_name"; then
      eval "printf '%s' \"\$$of_name\""
      return
    fi
  done
}

# trim TEXT: without blanks around it.
trim() {
  trimmed=$1
  while :; do
    case $trimmed in
      [[:space:]]*) trimmed=${trimmed#?} ;;
      *[[:space:]]) trimmed=${trimmed%?} ;;
      *) break ;;
    esac
  done
  printf '%s' "$trimmed"
}

# in_a_path TEXT: as a part of an address.
in_a_path() {
  case $1 in
    *[!A-Za-z0-9._~-]*)
      printf '%s' "$1" | od -An -v -tx1 | tr 'a-f' 'A-F' | tr -s ' ' '\n' | awk '
        function decimal(hex) { return index(digits, substr(hex, 1, 1)) * 16 - 16 + index(digits, substr(hex, 2, 1)) - 1 }
        BEGIN { digits = "0123456789ABCDEF" }
        $0 == "" { next }
        { c = sprintf("%c", decimal($0)); printf "%s", (decimal($0) < 128 && c ~ /[A-Za-z0-9._~-]/) ? c : "%" $0 }'
      ;;
    *) printf '%s' "$1" ;;
  esac
}

# pull_of TEXT: the number in refs/pull/7/merge.
pull_of() {
  trimmed=${1#refs/pull/}
  printf '%s' "${trimmed%%/*}"
}

# no_slashes TEXT: without slashes at its end.
no_slashes() {
  trimmed=$1
  while :; do
    case $trimmed in
      */) trimmed=${trimmed%/} ;;
      *) break ;;
    esac
  done
  printf '%s' "$trimmed"
}

# in_a_name TEXT: `/` to `-`, and no more characters than fit.
in_a_name() {
  printf '%s' "$1" | tr '/' '-' | awk '
    NR > 1 { text = text "\n" }
    { text = text $0 }
    END {
      for (i = 1; i <= length(text) && n <= 90; i++) { if (substr(text, i, 1) !~ /[\200-\277]/) n++; if (n <= 90) out = out substr(text, i, 1) }
      printf "%s", out
    }'
}

# cut_message TEXT: no more bytes than are sent, and no half character.
cut_message() {
  if [ "${#1}" -le 9000 ]; then
    printf '%s' "$1"
  else
    printf '%s' "$1" | awk '
      NR > 1 { text = text "\n" }
      { text = text $0 }
      END { end = 9000; while (substr(text, end + 1, 1) ~ /[\200-\277]/) end--; printf "%s\342\200\246", substr(text, 1, end) }'
  fi
}

# json_texts POINTER…: reads JSON and writes `NAME=VALUE` for the shell, with the texts at these places as text_1, text_2 and
# so on; of what is no text, or is empty, nothing.
text_1='' text_2='' text_3='' text_4='' text_5='' text_6='' text_7='' text_8='' text_9='' text_10='' text_11='' text_12=''
text_13='' text_14='' text_15='' text_16='' text_17='' text_18=''
json_texts() {
  awk -v wanted="$*" '
    function quoted(text) { gsub(/\047/, "\047\\\047\047", text); return "\047" text "\047" }
    function utf8(n) {
      if (n < 128) return sprintf("%c", n)
      if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
      if (n < 65536) return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
      return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, 128 + int(n / 64) % 64, 128 + n % 64)
    }
    # In blocks: some measure the whole text each time that they look at a piece of it.
    function char(at) {
      if (at < from || at >= from + 512) { from = at; block = substr(all, at, 512) }
      return substr(block, at - from + 1, 1)
    }
    function hex4(at,   i, n) {
      for (i = 0; i < 4; i++) n = n * 16 + index("0123456789abcdef", tolower(char(at + i))) - 1
      return n
    }
    function blanks() { while (char(place) ~ /[ \t\n\r]/) place++ }
    function text(   out, c, n) {
      place++
      while (place <= total) {
        c = char(place)
        if (c == "\"") { place++; return out }
        if (c != "\\") { out = out c; place++; continue }
        c = char(place + 1)
        place += 2
        if (c == "u") {
          n = hex4(place)
          place += 4
          if (n >= 55296 && n < 56320 && char(place) == "\\" && char(place + 1) == "u") {
            n = 65536 + (n - 55296) * 1024 + hex4(place + 2) - 56320
            place += 6
          }
          out = out (n ? utf8(n) : "")
        } else out = out (c == "n" ? "\n" : c == "t" ? "\t" : c == "r" ? "\r" : c == "b" ? "\b" : c == "f" ? "\f" : c)
      }
      broken = 1
      return out
    }
    function value(pointer,   c, n, key) {
      blanks()
      c = char(place)
      if (c == "\"") { found[pointer] = text(); return }
      if (c == "{" || c == "[") {
        place++
        for (n = 0; place <= total; n++) {
          blanks()
          if (char(place) == (c == "{" ? "}" : "]")) { place++; return }
          if (c == "{") { key = text(); blanks(); place++ } else key = n
          value(pointer "/" key)
          blanks()
          if (char(place) == ",") place++
        }
        broken = 1
        return
      }
      do place++; while (place <= total && char(place) !~ /[],} \t\n\r]/)
    }
    NR > 1 { all = all "\n" }
    { all = all $0 }
    END {
      total = length(all)
      from = -512
      place = 1
      value("")
      # What is cut off, or has something behind it, says nothing.
      blanks()
      if (place <= total) broken = 1
      n = split(wanted, pointers, " ")
      for (i = 1; i <= n; i++) print "text_" i "=" quoted(broken ? "" : found[pointers[i]])
    }'
}

# What GitHub says of what the job runs for.
github_event() {
  event_pull_request_html_url='' event_workflow_run_head_branch='' event_workflow_run_head_sha='' event_pull_request_head_sha=''
  event_message='' event_author='' event_workflow_run_head_repository_full_name='' event_pull_request_head_repo_full_name=''
  event_pull_request_head_user_login='' event_workflow_run_url=''
  has GITHUB_EVENT_PATH && [ -r "$GITHUB_EVENT_PATH" ] || return 0
  eval "$(json_texts /pull_request/html_url /workflow_run/head_branch /workflow_run/head_sha /pull_request/head/sha \
    /workflow_run/head_commit/message /workflow_run/display_title /head_commit/message /pull_request/title \
    /workflow_run/head_commit/author/name /head_commit/author/name /pull_request/user/login \
    /workflow_run/head_repository/full_name /pull_request/head/repo/full_name \
    /pull_request/head/user/login /workflow_run/url <"$GITHUB_EVENT_PATH")"
  event_pull_request_html_url=$text_1 event_pull_request_head_sha=$text_4
  event_message=$(first text_5 text_6 text_7 text_8)
  event_author=$(first text_9 text_10 text_11)
  event_workflow_run_head_repository_full_name=$text_12 event_pull_request_head_repo_full_name=$text_13
  event_pull_request_head_user_login=$text_14 event_workflow_run_url=$text_15
  # A job for `workflow_run` runs on the default branch, whatever it is about.
  case ${GITHUB_EVENT_NAME:-workflow_run} in
    workflow_run) event_workflow_run_head_branch=$text_2 event_workflow_run_head_sha=$text_3 ;;
  esac
}

is_hash() {
  case $1 in
    *[!0-9A-Fa-f]*) return 1 ;;
  esac
  [ "${#1}" -ge 7 ] && [ "${#1}" -le 64 ]
}

# web_address TEXT: a repository's address as people open it, without user and password; nothing when it can't be read.
web_address() {
  given=$(trim "$1")
  scheme=https
  case $given in
    https://*) rest=${given#https://} ;;
    http://*) scheme=http rest=${given#http://} ;;
    ssh://*) rest=${given#ssh://} ;;
    git://*) rest=${given#git://} ;;
    *://*) return ;;
    *:*) rest=${given%%:*}/${given#*:} ;;
    *) return ;;
  esac
  rest=${rest%%[?#]*}
  case $rest in
    */*) ;;
    *) return ;;
  esac
  host=${rest%%/*}
  host=${host##*@}
  case $given in ssh:* | git:*) host=${host%%:*} ;; esac
  path=$(no_slashes "${rest#*/}")
  while :; do
    case $path in
      /*) path=${path#/} ;;
      *) break ;;
    esac
  done
  case $host,$path in
    ssh.dev.azure.com,v3/*/*/*)
      host=dev.azure.com path=${path#v3/}
      of=${path#*/}
      path=${path%%/*}/${of%%/*}/_git/${of#*/}
      ;;
    *) path=${path%.git} ;;
  esac
  case $host in '' | *[!A-Za-z0-9.:-]*) return ;; esac
  case /$path/ in // | *[!A-Za-z0-9/._~%+-]* | *//* | */./* | */../*) return ;; esac
  [ "$((${#scheme} + 3 + ${#host} + 1 + ${#path}))" -le @REPOSITORY_MAX@ ] || return 0
  printf '%s' "$scheme://$host/$path"
}

count_params=0
count_metadata=0

# entry KIND KEY=VALUE: notes it; of a key that comes again the last value counts, in the place of the first.
entry() {
  eval "number=\$((count_$1 + 1)); count_$1=\$number"
  eval "${1}_key_$number=\${2%%=*}; ${1}_value_$number=\${2#*=}"
}

# lines KIND NAME: entries from a variable, one in each line.
lines() {
  has "$2" || return 0
  eval "rest=\$$2"
  number_of_line=0
  while [ -n "$rest" ]; do
    line=${rest%%"$newline"*}
    case $rest in
      *"$newline"*) rest=${rest#*"$newline"} line=${line%"$return"} ;;
      *) rest='' ;;
    esac
    number_of_line=$((number_of_line + 1))
    while :; do
      case $line in
        [[:space:]]*) line=${line#?} ;;
        *) break ;;
      esac
    done
    case $line in
      '') ;;
      *=*) entry "$1" "$line" ;;
      # The line itself may be a part of a secret, so it isn't shown.
      *) fail "\$$2: line $number_of_line should have the {key}={value} format" ;;
    esac
  done
}

# without_return WHAT TEXT: the text without the carriage return that shells of Windows leave at its end.
without_return() {
  kept=${2%"$newline"}
  case $kept in
    *"$return") ;;
    *) kept=$2 && return ;;
  esac
  while :; do
    case $kept in
      *"$return") kept=${kept%"$return"} ;;
      *) break ;;
    esac
  done
  say "$1 ended with a carriage return, which was left out"
}

# body: what is sent, as JSON, from the environment: no value is an argument of a program.
body() {
  awk '
    # How many bytes of a character follow, by its first one; -1 where none begins so.
    function follow(c) {
      return c ~ /[\302-\337]/ ? 1 : c ~ /[\340-\357]/ ? 2 : c ~ /[\360-\364]/ ? 3 : -1
    }
    function text(value,   i, j, n, c, out, more) {
      n = length(value)
      for (i = 1; i <= n; i++) {
        c = substr(value, i, 1)
        if (c in escaped) { out = out escaped[c]; continue }
        if (c !~ /[\200-\377]/) { out = out c; continue }
        more = follow(c)
        for (j = 1; j <= more && substr(value, i + j, 1) ~ /[\200-\277]/; j++) c = c substr(value, i + j, 1)
        # What is no character stands there as one that says so: JSON has nothing else.
        if (more < 0 || j <= more) out = out "\357\277\275"
        else out = out c
        i += length(c) - 1
      }
      return "\"" out "\""
    }
    function line(depth) { return pretty ? "\n" substr("        ", 1, 2 * depth) : "" }
    function object(kind,   i, n, key, last, order, count, out) {
      n = ENVIRON["count_" kind] + 0
      for (i = 1; i <= n; i++) {
        key = ENVIRON[kind "_key_" i]
        if (!(key in last)) order[++count] = key
        last[key] = ENVIRON[kind "_value_" i]
      }
      if (!count) return "{}"
      for (i = 1; i <= count; i++) out = out (i > 1 ? "," : "") line(2) text(order[i]) colon text(last[order[i]])
      return "{" out line(1) "}"
    }
    BEGIN {
      for (i = 1; i < 32; i++) escaped[sprintf("%c", i)] = sprintf("\\u%04x", i)
      escaped["\""] = "\\\""; escaped["\\"] = "\\\\"; escaped["\n"] = "\\n"; escaped["\r"] = "\\r"; escaped["\t"] = "\\t"
      escaped["\b"] = "\\b"; escaped["\f"] = "\\f"
      pretty = ENVIRON["pretty"]
      colon = pretty ? ": " : ":"
      printf "{%s%s%s%s,%s%s%s%s", line(1), text("name"), colon, text(ENVIRON["name"]), line(1), text("params"), colon, object("params")
      if (ENVIRON["count_metadata"] + 0) printf ",%s%s%s%s", line(1), text("metadata"), colon, object("metadata")
      if (ENVIRON["repository"] != "") printf ",%s%s%s%s", line(1), text("repository"), colon, text(ENVIRON["repository"])
      if (ENVIRON["commit"] != "") printf ",%s%s%s%s", line(1), text("commit"), colon, text(ENVIRON["commit"])
      printf "%s}", line(0)
    }'
}

work=''
tidy() {
  [ -z "$work" ] || rm -rf "$work"
}

# post ADDRESS: sends the body; the status is in $status, 000 for none, the answer in a file, and where it leads in $to.
post() {
  to=''
  if command -v curl >/dev/null 2>&1; then
    # The token is in a file: arguments can be read by everybody on the machine.
    {
      printf 'header = "Authorization: Token %s"\n' "$(printf '%s' "$token" | sed 's/[\\"]/\\&/g')"
      [ -z "${SSL_CERT_FILE:-}" ] || printf 'cacert = "%s"\n' "$(printf '%s' "$SSL_CERT_FILE" | sed 's/[\\"]/\\&/g')"
    } >"$work/config"
    code=0
    status=$(curl -q -g -sS --config "$work/config" --max-time 10 -o "$work/answer" -w '%{http_code} %{redirect_url}' \
      -H "X-CoolOps-Cli-Version: $version" -H 'Content-Type: application/json' -H 'Expect:' \
      --data-binary "@$work/body" "$1" 2>"$work/said") || code=$?
    to=${status#* }
    status=${status%% *}
    case $code in
      0) ;;
      60 | 77) fail "$1 has a certificate that isn't trusted ($(tail -n 1 "$work/said")); name the file of your authority in \$SSL_CERT_FILE" ;;
      *) status=000 ;;
    esac
    return
  fi
  command -v wget >/dev/null 2>&1 || fail 'neither curl nor wget is there; install one of them'
  # BusyBox's tells the token to whoever it is sent on to, and wget2 reads no file with it.
  if wget --version 2>&1 | grep -qi 'wget2' || ! wget --version 2>&1 | grep -qi 'gnu wget'; then
    fail 'this wget can not be trusted with a token; install curl, or GNU wget'
  fi
  {
    printf 'header = Authorization: Token %s\n' "$token"
    [ -z "${SSL_CERT_FILE:-}" ] || printf 'ca_certificate = %s\n' "$SSL_CERT_FILE"
  } >"$work/config"
  code=0
  WGETRC=$work/config wget -S -q --tries=1 --timeout=10 --max-redirect=0 --content-on-error -O "$work/answer" \
    --header "X-CoolOps-Cli-Version: $version" --header 'Content-Type: application/json' --post-file "$work/body" "$1" 2>"$work/said" || code=$?
  [ "$code" -ne 5 ] || fail "$1 has a certificate that isn't trusted; name the file of your authority in \$SSL_CERT_FILE"
  status=$(sed -n 's/.*HTTP\/[0-9.]* \([0-9]\{3\}\).*/\1/p' "$work/said" | tail -n 1)
  to=$(sed -n 's/^ *[Ll]ocation: *//p' "$work/said" | tr -d '\r' | tail -n 1)
  [ -n "$status" ] || status=000
}

# shown TEXT: on one line, without controls.
shown() {
  printf '%s' "$1" | tr '\n\t' '  ' | tr -d '\000-\037\177'
}

announce() {
  given=$(trim "$flag_url")
  url=${given:-$(trim "${COOLOPS_URL:-}")}
  if [ -n "$dry_run" ]; then
    pretty=1
    export pretty
    printf 'POST %s/builds\n' "$(no_slashes "${url:-\$COOLOPS_URL}")"
    (exported && body)
    echo
    return
  fi
  given=$(trim "$flag_token")
  token=${given:-$(trim "${COOLOPS_PROJECT_API_TOKEN:-}")}
  [ -n "$token" ] || fail "The project's api token is mandatory.${newline}Either pass it using the --token flag or setting the \$COOLOPS_PROJECT_API_TOKEN environment variable."
  [ -n "$url" ] || fail "The address of coolops is mandatory.${newline}Either pass it using the --url flag or setting the \$COOLOPS_URL environment variable."
  case $token in
    *[!!-~]*) fail "The project's api token holds characters that no token has; copy it again." ;;
  esac
  # It isn't shown: there may be a password in it.
  case $url in
    *[@?#]* | *[!!-~]*) url='' ;;
    http://?* | https://?*) ;;
    *) url='' ;;
  esac
  [ -n "$url" ] || fail 'The address of coolops can'"'"'t be read; write it like https://coolops.example.com, without user and query'
  if [ -n "${SSL_CERT_FILE:-}" ] && [ ! -r "$SSL_CERT_FILE" ]; then
    fail "\$SSL_CERT_FILE: $SSL_CERT_FILE can't be read"
  fi
  address=$(no_slashes "$url")/builds
  work=$(mktemp -d)
  (exported && pretty='' && export pretty && body) >"$work/body"
  for pause in 1 2 ''; do
    : >"$work/answer"
    post "$address"
    eval "$(json_texts /url /error /notes/0 /notes/1 /notes/2 /notes/3 /notes/4 /notes/5 /notes/6 /notes/7 /notes/8 /notes/9 /notes/10 /notes/11 /notes/12 /notes/13 /notes/14 /notes/15 <"$work/answer" 2>/dev/null || :)"
    case $status,$text_1 in
      200, | 201,) problem="what answers there is not coolops (status $status)" ;;
      200,* | 201,*)
        number=3
        while [ "$number" -le 18 ]; do
          eval "note=\$text_$number"
          [ -z "$note" ] || say "$(shown "$note")"
          number=$((number + 1))
        done
        if [ -z "$quiet" ] && { [ -n "$in_ci" ] || [ -t 2 ]; }; then
          what='is announced'
          [ "$status" = 201 ] || what='was announced before'
          say "$(shown "$name") $what: $(shown "$text_1")"
        fi
        return
        ;;
      3??,*) fail "$address sends us on to ${to:-another address}; set the address of coolops itself" ;;
      401,*) fail 'Invalid project token: it is unknown or was revoked. Make one with: coolops project token new PROJECT' ;;
      000,* | 408,* | 429,* | 5??,*)
        problem=${text_2:-status $status}
        [ "$status" != 000 ] || problem=$(tail -n 1 "$work/said" | sed 's/^curl: ([0-9]*) //')
        ;;
      *) fail "Invalid request: ${text_2:-status $status}" ;;
    esac
    [ -z "$pause" ] || sleep "$pause"
  done
  fail "The build could not be announced to $address, in 3 tries: $problem${newline}Is the address right, and can this job reach it?"
}

# exported: what `body` reads.
exported() {
  export name repository commit count_params count_metadata
  for kind in params metadata; do
    number=1
    while eval "[ $number -le \$count_$kind ]"; do
      eval "without_return \"the value of \$${kind}_key_$number\" \"\$${kind}_value_$number\"; ${kind}_value_$number=\$kept"
      # shellcheck disable=SC2163
      export "${kind}_key_$number" "${kind}_value_$number"
      number=$((number + 1))
    done
  done
}

# The table of CI systems: what each tells a job, as names of variables.
@PRESETS@

# strip TEXT: without what is not part of a branch's name.
strip() {
  for beginning in $strip; do
    case $1 in
      "$beginning"*)
        stripped=${1#"$beginning"}
        # `refs/remotes/origin/main`, whatever the remote is called.
        case $beginning,$stripped in refs/remotes/,*/*) stripped=${stripped#*/} ;; esac
        printf '%s' "$stripped"
        return
        ;;
    esac
  done
  printf '%s' "$1"
}

# either NAME…: as people read it.
either() {
  words=''
  for of_name in "$@"; do
    words="$words${words:+ or }\$$of_name"
  done
  printf '%s' "$words"
}

# What the job's CI system says: the build's name, what the message shows, the repository and the commit.
# shellcheck disable=SC2086
of_preset() {
  github_event
  if [ "$preset" = github ] && [ -n "$event_workflow_run_head_branch" ]; then
    branch=$event_workflow_run_head_branch
  else
    branch=$(strip "$(first $branches)")
  fi
  # A fork's branch has whose it is before it.
  fork=$("${preset}_fork") || fork=''
  if [ -n "$branch" ] && [ -n "$fork" ] && { [ -z "$own" ] || [ "$fork" != "$(first $own)" ]; }; then
    branch=${fork%%/*}:$branch
  fi
  if [ -z "$name" ]; then
    named=$branch
    [ -z "$counted_in" ] || named=$(strip "$(first $counted_in)")
    number=$(first $numbers)
    missing=''
    has_branch=$named$(first ${counted_in:-$branches})
    [ -n "$has_branch" ] || missing=$(either ${counted_in:-$branches})
    [ -n "$number" ] || missing="$missing${missing:+, and }$(either $numbers)"
    [ -z "$missing" ] || fail "A build of $title is named by variables that are not set: $missing.${newline}Is this a job of $title? Otherwise give the name with --name."
    name="$(in_a_name "$named")-$(in_a_name "$number")"
    if [ -n "$attempt" ] && has "$attempt"; then
      eval "times=\$$attempt"
      times=$(trim "$times")
      case $times in
        '' | *[!0-9]* | ?????????*) ;;
        *) [ "$times" -le "$first_attempt" ] || name="$name-$((times - first_attempt + 1))" ;;
      esac
    fi
  fi
  hash=''
  of_event=''
  [ "$preset" != github ] || of_event=$event_workflow_run_head_sha
  [ -n "$of_event" ] || of_event=$event_pull_request_head_sha
  for candidate in "$of_event" "$(first $commits)"; do
    if [ -z "$hash" ] && is_hash "$candidate"; then hash=$candidate; fi
  done
  if [ -z "$hash" ]; then
    candidate=$(git rev-parse HEAD 2>/dev/null </dev/null) || candidate=''
    if is_hash "$candidate"; then hash=$candidate; fi
  fi
  logged_message='' logged_author=''
  if [ -n "$hash" ]; then
    logged_message=$(git log --format=%B -n 1 "$hash" -- 2>/dev/null </dev/null) || logged_message=''
    logged_author=$(git log --format=%an -n 1 "$hash" -- 2>/dev/null </dev/null) || logged_author=''
  fi
  message=$(trim "$logged_message")
  [ -n "$message" ] || message=$(trim "$(first $messages)")
  [ -n "$message" ] || message=$(trim "$event_message")
  message=$(cut_message "$message")
  author=$(trim "$logged_author")
  [ -n "$author" ] || author=$event_author
  [ -n "$author" ] || author=$(first $authors)
  author=$(trim "${author%%<*}")
  run=$("${preset}_url") || run=''
  pull_request=$("${preset}_pull_request") || pull_request=''
  fence='```'
  case $shows in
    circleci)
      entry metadata "Pull Request=${pull_request:-_No Pull Request_}"
      [ -z "$message" ] || entry metadata "Last Commit=$fence$message$fence"
      ;;
    gitlab)
      entry metadata "Job Url=$run"
      [ -z "$message" ] || entry metadata "Last Commit=$fence$message$fence"
      ;;
    all)
      [ -z "$branch" ] || entry metadata "Branch=$branch"
      [ -z "$hash" ] || entry metadata "Commit=$(printf '%.7s' "$hash")"
      [ -z "$author" ] || entry metadata "Author=$author"
      [ -z "$message" ] || entry metadata "Message=$message"
      [ -z "$pull_request" ] || entry metadata "Pull request=$pull_request"
      [ -z "$run" ] || entry metadata "Run=$run"
      ;;
  esac
  told=$("${preset}_repository") || told=$(git remote get-url origin 2>/dev/null </dev/null) || told=''
  [ -n "$repository" ] || repository=$(web_address "$told")
  [ -n "$commit" ] || commit=$(printf '%s' "$hash" | tr 'A-F' 'a-f')
}

main() {
  trap tidy EXIT
  # A shell that is killed does not run the trap of its exit by itself.
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  command=${1:-}
  case $command in
    build:new | build:new:auto@COMMANDS@) shift ;;
    -h | --help | help | '')
      usage
      [ -n "$command" ] || exit 2
      exit
      ;;
    -v | -V | --version)
      echo "coolops $version (portable)"
      exit
      ;;
    *)
      say "coolops: '$command' is not a coolops command (this small program only announces builds). See 'coolops --help'."
      exit 2
      ;;
  esac
  for flag in "$@"; do
    case $flag in -h | --help) usage && exit ;; esac
  done
  command -v awk >/dev/null 2>&1 || fail 'awk is not there; install it'
  name='' flag_token='' flag_url='' flag_repository='' flag_commit='' dry_run='' quiet='' positional=''
  lines params COOLOPS_PARAMS
  lines metadata COOLOPS_METADATA
  while [ $# -gt 0 ]; do
    flag=$1
    shift
    # As the original took them: its long flags may have one dash.
    case $flag in
      -name | -name=* | -metadata | -metadata=* | -param | -param=* | -token | -token=*) flag=-$flag ;;
    esac
    value=''
    is_given=''
    case $flag in
      --*=*) value=${flag#*=} flag=${flag%%=*} is_given=1 ;;
      --*) ;;
      -[pmtn]?*)
        value=${flag#-?}
        value=${value#=}
        is_given=1
        flag=${flag%"${flag#-?}"}
        ;;
    esac
    case $flag in
      --dry-run) dry_run=1 && continue ;;
      -q | --quiet) quiet=1 && continue ;;
      -h | --help) usage && exit ;;
      -p | --param | -m | --metadata | -t | --token | -n | --name | --url | --repository | --commit)
        if [ -z "$is_given" ]; then
          [ $# -gt 0 ] || wrong "a value is required for '$flag' but none was supplied"
          value=$1
          shift
        fi
        ;;
      -?*) wrong "unexpected argument '$flag' found" ;;
      *)
        if [ "$command" != build:new ] || [ -n "$positional" ]; then
          wrong "unexpected argument '$flag' found"
        fi
        positional=1
        name=$flag
        continue
        ;;
    esac
    case $flag in
      -p | --param | -m | --metadata)
        case $value in
          *=*) ;;
          *) wrong "invalid value for '$flag <KEY=VALUE>': should have the {key}={value} format" ;;
        esac
        ;;
    esac
    case $flag in
      -p | --param) entry params "$value" ;;
      -m | --metadata) entry metadata "$value" ;;
      -t | --token) flag_token=$value ;;
      -n | --name)
        [ "$command" != build:new ] || wrong "unexpected argument '$flag' found"
        name=$value
        ;;
      --url) flag_url=$value ;;
      --repository) flag_repository=$value ;;
      --commit) flag_commit=$value ;;
    esac
  done
  repository='' commit=''
  if [ -n "$(trim "$flag_repository")" ]; then
    repository=$(web_address "$flag_repository")
    [ -n "$repository" ] || fail "Invalid request: the repository can't be read; give the address that it has in a browser, such as https://github.com/owner/name"
  fi
  if [ -n "$(trim "$flag_commit")" ]; then
    commit=$(trim "$flag_commit")
    is_hash "$commit" || fail "Invalid request: the commit \"$commit\" is no hash; give 7 to 64 hexadecimal digits"
    commit=$(printf '%s' "$commit" | tr 'A-F' 'a-f')
  fi
  in_ci=1
  case $command in
    build:new)
      [ -n "$name" ] || fail 'name is mandatory: coolops build:new NAME, or coolops build:new:auto in a job of a CI system'
      in_ci=${CI:-}
      ;;
    *)
      case $command in
        build:new:auto)
          preset=$(recognised) || fail "This is no CI system that coolops knows (@NAMES@).${newline}Announce the build with its name: coolops build:new NAME"
          ;;
        *) preset=${command#build:new:} ;;
      esac
      preset_of "$preset"
      of_preset
      ;;
  esac
  without_return 'the name' "$name"
  name=$(trim "$kept")
  announce
}

main "$@"
