# shellcheck shell=bash
# From a staged folder to a one-layer docker image, sourced by build.sh. No builder, no registry, no base image.
# The same content gives the same image ID on every machine (sorted names, fixed times and owners, fixed creation
# date), so a node that has the image is recognised. Depends on e2e/tools/ground.sh.

# Certificates for TLS to the outside, a name for the user, and the folder every program may write to.
stage_base() {
  local folder=$1 bundle=/etc/ssl/certs/ca-certificates.crt
  mkdir -p "$folder"/{etc/ssl/certs,tmp,usr/local/bin}
  chmod 1777 "$folder/tmp"
  [[ -f $bundle ]] || fail "no CA certificates at $bundle: install the package ca-certificates"
  cp "$bundle" "$folder/etc/ssl/certs/"
  printf 'root:x:0:0:root:/:/\nspillway:x:65532:65532:spillway:/tmp:/\n' >"$folder/etc/passwd"
  printf 'root:x:0:\nspillway:x:65532:\n' >"$folder/etc/group"
}

# stage_binary FOLDER SOURCE [NAME]: without the line tables, which are most of a development build's size.
stage_binary() {
  local target
  target=$1/usr/local/bin/${3:-$(basename "$2")}
  install -m 755 "$2" "$target"
  strip --strip-debug "$target"
}

# A dynamically linked program takes its loader and libraries along.
stage_libraries() {
  local library
  ldd "$2" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    install -D -m 755 "$(readlink -f "$library")" "$1$library"
  done
}

# pack FOLDER IMAGE USER COMMAND-JSON [ARGUMENTS-JSON]: prints "IMAGE ID"; nothing is loaded when docker has that content.
pack() {
  local folder=$1 image=$2 user=$3 entrypoint=$4 arguments=${5:-[]} out layer config previous
  out=$(mktemp -d)
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=gnu -C "$folder" -cf "$out/layer.tar" .
  layer=sha256:$(sha256sum "$out/layer.tar" | cut -d' ' -f1)
  jq -cn --arg layer "$layer" --arg user "$user" --argjson entrypoint "$entrypoint" --argjson arguments "$arguments" '
    {architecture: "amd64", os: "linux", created: "1970-01-01T00:00:00Z",
     config: {User: $user, Entrypoint: $entrypoint, Cmd: $arguments, WorkingDir: "/tmp",
              Env: ["PATH=/usr/local/bin", "HOME=/tmp", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"]},
     rootfs: {type: "layers", diff_ids: [$layer]},
     history: [{created: "1970-01-01T00:00:00Z", created_by: "spillway e2e/images"}]}' >"$out/config"
  config=$(sha256sum "$out/config" | cut -d' ' -f1)
  previous=$(docker image inspect -f '{{.Id}}' "$image" 2>/dev/null || true)
  if [[ $previous != "sha256:$config" ]]; then
    mv "$out/config" "$out/$config.json"
    jq -cn --arg config "$config.json" --arg image "$image" \
      '[{Config: $config, RepoTags: [$image], Layers: ["layer.tar"]}]' >"$out/manifest.json"
    tar -C "$out" -c manifest.json "$config.json" layer.tar | docker load >/dev/null
    [[ -z $previous ]] || docker rmi "$previous" >/dev/null 2>&1 || true
    say "$image: made ($(du -sh "$folder" | cut -f1))"
  else
    say "$image: unchanged"
  fi
  rm -r "$out"
  printf '%s %s\n' "$image" "$(docker image inspect -f '{{.Id}}' "$image")"
}
