# Terraform as the workflows use it: the pinned version, the state of one profile, plans that are kept. Sourced after script/ci/lib.sh.
# shellcheck shell=bash
terraform_version=1.11.4

set_up_terraform() {
    command -v terraform >/dev/null && return
    local machine sum
    case $(uname -m) in
    x86_64) machine=amd64 sum=1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc ;;
    aarch64) machine=arm64 sum=a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633 ;;
    *) say "no Terraform is pinned for $(uname -m): install Terraform $terraform_version"; return 1 ;;
    esac
    local home=${XDG_CACHE_HOME:-$HOME/.cache}/eventflow/tools/terraform-$terraform_version
    if [ ! -x "$home/terraform" ]; then
        say "fetching Terraform $terraform_version"
        need curl "to fetch Terraform" command -v curl
        need unzip "to unpack Terraform" command -v unzip
        install_missing || return 1
        mkdir -p "$home"
        curl --proto '=https' --tlsv1.2 --retry 3 -sSfL -o "$home/zip" \
            "https://releases.hashicorp.com/terraform/$terraform_version/terraform_${terraform_version}_linux_$machine.zip" &&
            echo "$sum  $home/zip" | sha256sum --check --status && unzip -qo "$home/zip" terraform -d "$home" || {
            say "Terraform $terraform_version could not be fetched, or its checksum is not the pinned one"
            return 1
        }
    fi
    PATH=$home:$PATH
}

# The root module; script/ci/test sets another folder.
tf_root=${TF_ROOT:-terraform}
tf() { terraform -chdir="$tf_root" "$@"; }

# tf_init PROFILE [LOCK]: the profile's state, in the bucket that terraform/bootstrap made. TF_BACKEND is its output `backend`. LOCK is the lock file
# a plan was made with: a plan can be applied only with the same provider, and a newer one may be out by then.
tf_init() {
    [ "$1" = demo ] || [ "$1" = production ] || wrong "the profile is demo or production"
    set_up_terraform || return 1
    local backend status=0 lock=()
    if [ -n "${2:-}" ]; then
        cp "$2" "$tf_root/.terraform.lock.hcl" || return 1
        lock=(-lockfile=readonly)
    fi
    backend=$(mktemp)
    echo "$TF_BACKEND" >"$backend"
    tf init -input=false -no-color -reconfigure "${lock[@]}" -backend-config="$backend" -backend-config="key=eventflow-$1.tfstate" >/dev/null || status=1
    rm -f "$backend"
    [ $status = 0 ] || { say "terraform init failed (see above)"; return 1; }
}

# plan_hash DIR: the hash that is approved: of the plan and of the providers it was made with.
plan_hash() { (cd "$1" && sha256sum tfplan terraform.lock.hcl) | sha256sum | cut -d' ' -f1; }

# tf_plan PROFILE DIGEST FILE [MORE...]: a plan kept in FILE. Without a lock, since a role that may only read cannot take one; a plan whose state
# has changed since is refused when it is applied. TFVARS has what the profile's file leaves open (account_id, ...): HCL, one per line.
tf_plan() {
    local profile=$1 digest=$2 file=$3
    shift 3
    given_variables "$profile" "$digest"
    tf plan -input=false -no-color -lock=false "${variables[@]}" -out "$file" "$@"
}

# given_variables PROFILE DIGEST: sets `variables` to Terraform's arguments. Without a digest there are no tasks yet.
given_variables() {
    local file
    file=$(mktemp --suffix .tfvars)
    echo "${TFVARS:-}" >"$file"
    variables=(-var-file="profiles/$1.tfvars" -var-file="$file")
    [ -z "$2" ] || variables+=(-var "image_digest=$2")
}

# What runs now: Terraform's output `deploy`, or nothing before the first apply. Fails when it cannot be read, which is not the same as nothing.
# A JSON object: image_digest, url (the public edge), inside_url (the producer, from inside), cluster, services (name to task definition), and
# of one-off tasks task_definition, container, subnets, security_groups, log_group, log_prefix.
deployed() { tf output -json | jq -c '.deploy.value // empty' || { say "Terraform's output deploy cannot be read (see above)"; return 1; }; }
deployed_digest() { deployed | jq -r '.image_digest // empty'; }
