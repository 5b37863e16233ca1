# Terraform and its AWS provider: those of this machine, else fetched. Sourced by terraform/check after script/lib.sh.
# shellcheck shell=bash
terraform_version=1.11.4 # fetched where there is none, or one before 1.11 (write-only arguments)
declare -A terraform_sha256=(
    [amd64]=1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc
    [arm64]=a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633
)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/eventflow

machine() { case $(uname -m) in x86_64) echo amd64 ;; aarch64 | arm64) echo arm64 ;; *) uname -m ;; esac; }

has_terraform() {
    local version
    version=$(terraform version 2>/dev/null | sed -n '1s/^Terraform v\([0-9.]*\).*/\1/p')
    [ -n "$version" ] && [ "$(printf '%s\n' 1.11 "$version" | sort -V | head -1)" = 1.11 ]
}

# Puts terraform on the PATH, or fails with one line.
get_terraform() {
    local home=$cache/terraform-$terraform_version arch zip
    PATH=$PATH:$home
    has_terraform && return
    PATH=$home:$PATH
    has_terraform && return
    arch=$(machine)
    if [ "$(uname -s)" != Linux ] || [ -z "${terraform_sha256[$arch]:-}" ]; then
        say "needs Terraform 1.11 or later: install it (https://developer.hashicorp.com/terraform/install), then run this again"
        return 1
    fi
    need curl "to fetch Terraform" command -v curl
    install_missing || return 1
    zip=$(mktemp)
    mkdir -p "$home"
    # Unpacked by Python, which the checks need anyway.
    if curl --proto '=https' --tlsv1.2 -sSfL --max-time 300 -o "$zip" "https://releases.hashicorp.com/terraform/$terraform_version/terraform_${terraform_version}_linux_$arch.zip" 2>/dev/null &&
        echo "${terraform_sha256[$arch]}  $zip" | sha256sum -c --quiet - >&2 && python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("terraform", sys.argv[2])' "$zip" "$home"; then
        chmod +x "$home/terraform"
        rm -f "$zip"
        say "fetched Terraform $terraform_version"
        return
    fi
    rm -f "$zip"
    say "needs Terraform 1.11 or later: none is here, and $terraform_version could not be fetched from releases.hashicorp.com"
    return 1
}

# Where the AWS provider is on this machine: TF_PLUGIN_DIR, the places where Terraform looks by itself, then any local mirror.
# Prints the directory for `terraform init -plugin-dir`, or nothing.
find_plugins() {
    local place hit platform
    platform=linux_$(machine)
    local places=("${TF_PLUGIN_DIR:-}" terraform.d/plugins "$HOME/.terraform.d/plugins" "${XDG_DATA_HOME:-$HOME/.local/share}/terraform/plugins")
    IFS=: read -ra hits <<<"${XDG_DATA_DIRS:-/usr/local/share:/usr/share}"
    for place in "${hits[@]}" /usr/local/share /usr/share; do places+=("$place/terraform/plugins"); done
    for place in "${places[@]}"; do
        [ -n "$place" ] && usable_mirror "$place" && { readlink -f "$place"; return; }
    done
    while IFS= read -r hit; do
        place=${hit%/registry.terraform.io/hashicorp/aws}
        usable_mirror "$place" && { echo "$place"; return; }
    done < <(timeout 20 find /opt /usr/local /srv "$HOME" -maxdepth 6 \( -name node_modules -o -name .git -o -name .terraform -o -name target \) -prune \
        -o -type d -path '*/registry.terraform.io/hashicorp/aws' -print 2>/dev/null)
}

# A mirror has the provider for this machine in a version that we accept, unpacked or as a zip.
usable_mirror() {
    local file version aws=$1/registry.terraform.io/hashicorp/aws
    for file in "$aws"/*/"$platform" "$aws"/terraform-provider-aws_*_"$platform.zip"; do
        [ -e "$file" ] || continue
        version=$(sed -n 's#.*[/_]\([0-9]*\.[0-9]*\.[0-9]*\)[/_].*#\1#p' <<<"$file")
        [ "$(printf '%s\n' 5.100.0 "$version" | sort -V | head -1)" = 5.100.0 ] && return
    done
    return 1
}

# get_provider WORK: sets PLUGINS to the mirror's directory, or to nothing if the registry answers; fails with one line if there is
# neither.
get_provider() {
    local work=$1
    PLUGINS=$(find_plugins)
    export PLUGINS
    [ -z "$PLUGINS" ] || { say "AWS provider: the mirror in $PLUGINS"; return; }
    export TF_PLUGIN_CACHE_DIR=$cache/terraform-plugins TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE=1
    mkdir -p "$TF_PLUGIN_CACHE_DIR" "$work/provider"
    cp terraform/modules/schedule/versions.tf "$work/provider"
    if (cd "$work/provider" && timeout 600 terraform init -input=false -no-color >"$work/provider.log" 2>&1); then
        say "AWS provider: Terraform's registry"
        return
    fi
    say "needs the AWS provider (5.100 or later): no mirror in Terraform's usual places (or TF_PLUGIN_DIR), and the registry does not answer"
    return 1
}
