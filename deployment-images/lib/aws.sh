# shellcheck shell=sh disable=SC2154
# What the images share that deploy to Amazon: whose keys, which region, in which role.

aws_variables() {
  of_environment AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY 'AWS_REGION|AWS_DEFAULT_REGION'
  optional AWS_SESSION_TOKEN
  optional AWS_ROLE_ARN
  fits AWS_ACCESS_KEY_ID 128 'A-Za-z0-9_' 'id of a key'
  # What the signature is made with is no text for people: a blank or a line's end in it is a slip.
  fits AWS_SECRET_ACCESS_KEY 200 'A-Za-z0-9/+=' 'secret key of Amazon'
  fits AWS_SESSION_TOKEN 5000 'A-Za-z0-9/+=' 'session token of Amazon'
  fits AWS_REGION 40 'a-z0-9-' 'region'
  fits AWS_DEFAULT_REGION 40 'a-z0-9-' 'region'
  fits AWS_ROLE_ARN 2048 'A-Za-z0-9:/+=,.@_-' 'role'
}

# Writes what the AWS CLI reads: in memory, and in no argument.
aws_access() {
  AWS_DEFAULT_REGION=${AWS_REGION:-$AWS_DEFAULT_REGION}
  AWS_CONFIG_FILE=$work/aws-config
  AWS_SHARED_CREDENTIALS_FILE=$work/aws-credentials
  AWS_PAGER=''
  HOME=$work
  AWS_EC2_METADATA_DISABLED=true
  export HOME AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_PAGER AWS_EC2_METADATA_DISABLED
  if [ -n "$AWS_SESSION_TOKEN" ]; then export AWS_SESSION_TOKEN; else unset AWS_SESSION_TOKEN; fi
  : >"$AWS_CONFIG_FILE"
  : >"$AWS_SHARED_CREDENTIALS_FILE"
  profile=''
  if [ -n "$AWS_ROLE_ARN" ]; then
    printf '[profile role]\nrole_arn = %s\ncredential_source = Environment\nrole_session_name = coolops\n' "$AWS_ROLE_ARN" >"$AWS_CONFIG_FILE"
    profile=role
  fi
  # The CLI would take it for the role of a web identity.
  unset AWS_ROLE_ARN
}

# A network that is gone is found out before a deployment's patience is.
as_role() {
  set -- --cli-connect-timeout 10 --cli-read-timeout 60 "$@"
  if [ -n "$profile" ]; then run aws --profile "$profile" "$@"; else run aws "$@"; fi
}

# aws_json FILE ARGUMENTS…: what Amazon answers.
aws_json() {
  answer=$1
  shift
  as_role --output json "$@" >"$answer"
}
