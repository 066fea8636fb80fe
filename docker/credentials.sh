#!/bin/sh
# Give each service the credentials that it needs, in a folder of its own: /out/SERVICE.
# What the services of Muster read belongs to their user; the other folders are seen by one service each.
set -eu
secrets=${SECRETS:-/run/secrets}
out=${OUT:-/out}
rules=${RULES:-/broker-rules}
database=${DATABASE:-postgres:5432}
muster=${MUSTER_UID:-10001}
umask 077

secret() {
    [ -s "$secrets/$1" ] || { echo "no secret '$1': run scripts/stack-secrets.sh" >&2; exit 1; }
    tr -d '\r\n' <"$secrets/$1"
}

# FOLDER NAME: standard input becomes the file, in place of an older one.
write() {
    cat >"$out/$1/.new"
    mv -f "$out/$1/.new" "$out/$1/$2"
}

app=$(secret database)
owner=$(secret database-owner)
broker=$(secret broker)

printf '%s:muster:muster_app:%s\n' "$database" "$app" | write app pgpass
printf '%s\n' "$broker" | write app broker
printf '%s:muster:muster_owner:%s\n' "$database" "$owner" | write owner pgpass
for service in app owner; do
    chown -R "$muster:$muster" "$out/$service"
done

printf '%s' "$app" | write roles app
printf '%s' "$owner" | write roles owner
digest=$(printf '%s' "$broker" | sha256sum | cut -d' ' -f1)
sed "s/@DIGEST@/$digest/" "$rules" | write broker users.acl
for service in roles broker; do # users of images of others, whose numbers are theirs to choose
    chmod -R u=rwX,go=rX "$out/$service"
done
