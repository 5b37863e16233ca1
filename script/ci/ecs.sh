# One-off tasks and services on ECS. Sourced after script/ci/lib.sh. DEPLOY below is the output `deploy` of Terraform, a JSON object.
# shellcheck shell=bash
aws() { command aws --region "$AWS_REGION" --output json --no-cli-pager "$@"; }

# registry_login HOST: logs docker and gh in to the image registry, for as long as its token lasts.
registry_login() { aws ecr get-login-password | docker login --username AWS --password-stdin "$1" >/dev/null 2>&1; }

# with_image DEPLOY IMAGE: registers the ops task with another image, for one run; prints its ARN.
with_image() {
    local definition
    definition=$(aws ecs describe-task-definition --include TAGS --task-definition "$(jq -r .task_definition <<<"$1")") || return 1
    jq --arg image "$2" '.tags as $tags | .taskDefinition
        | .containerDefinitions |= map(.image = $image)
        | {family, taskRoleArn, executionRoleArn, networkMode, containerDefinitions, volumes, placementConstraints,
           requiresCompatibilities, cpu, memory, runtimePlatform}
        | with_entries(select(.value != null)) + (if ($tags | length) > 0 then {tags: $tags} else {} end)' <<<"$definition" >"$scratch/task.json" || return 1
    aws ecs register-task-definition --cli-input-json "file://$scratch/task.json" | jq -er .taskDefinition.taskDefinitionArn
}

# one_off DEPLOY IMAGE COMMAND...: runs `eventflow COMMAND` as a task of its own, with IMAGE if that is not empty, else with the deployed image; prints
# its log; succeeds if the task did. After ten minutes the task is stopped, so that nothing migrates after it was reported as failed.
one_off() {
    local deploy=$1 image=$2 definition task cluster status stopped=no result=1
    shift 2
    say "one-off task: eventflow $*"
    cluster=$(jq -r .cluster <<<"$deploy")
    definition=$(jq -r .task_definition <<<"$deploy")
    if [ -n "$image" ]; then
        definition=$(with_image "$deploy" "$image") || { say "the task definition cannot be registered (see above)"; return 1; }
    fi
    jq '{awsvpcConfiguration: {subnets, securityGroups: .security_groups, assignPublicIp: "DISABLED"}}' <<<"$deploy" >"$scratch/network.json"
    jq -n --arg name "$(jq -r .container <<<"$deploy")" '{containerOverrides: [{name: $name, command: $ARGS.positional}]}' --args -- "$@" >"$scratch/overrides.json"
    task=$(aws ecs run-task --cluster "$cluster" --task-definition "$definition" --launch-type FARGATE --started-by release \
        --network-configuration "file://$scratch/network.json" --overrides "file://$scratch/overrides.json") || task='{}'
    if arn=$(jq -er '.tasks[0].taskArn' <<<"$task"); then
        aws ecs wait tasks-stopped --cluster "$cluster" --tasks "$arn" || {
            stopped=yes
            say "the task has not ended within ten minutes, or cannot be waited for: stopping it"
            aws ecs stop-task --cluster "$cluster" --task "$arn" --reason "not ended in time" >/dev/null && aws ecs wait tasks-stopped --cluster "$cluster" --tasks "$arn" ||
                say "IT MAY STILL RUN: aws ecs stop-task --cluster $cluster --task $arn"
        }
        status=$(aws ecs describe-tasks --cluster "$cluster" --tasks "$arn") || status='{}'
        aws logs get-log-events --start-from-head --log-group-name "$(jq -r .log_group <<<"$deploy")" \
            --log-stream-name "$(jq -r '"\(.log_prefix)/\(.container)"' <<<"$deploy")/${arn##*/}" | jq -r '.events[].message' || say "the task's log cannot be read: look for it in CloudWatch"
        [ $stopped = no ] && [ "$(jq '.tasks[0].containers[0].exitCode' <<<"$status")" = 0 ] && result=0 ||
            say "it failed: $(jq -r '.tasks[0] | "exit code \(.containers[0].exitCode // "none"), \(.stoppedReason // "still running")"' <<<"$status")"
    else
        say "the task did not start: $(jq -r '[.failures[]?.reason] | join(", ")' <<<"$task")"
    fi
    [ -z "$image" ] || aws ecs deregister-task-definition --task-definition "$definition" >/dev/null || true
    return $result
}

# settled DEPLOY: waits until every service is stable, with the task definition that Terraform gave it: a service that ECS' circuit breaker rolled back
# to its old one is stable too.
settled() {
    local names state other
    mapfile -t names < <(jq -r '.services | keys[]' <<<"$1")
    say "waiting for ${#names[@]} services to settle"
    aws ecs wait services-stable --cluster "$(jq -r .cluster <<<"$1")" --services "${names[@]}" || { say "the services do not settle: look at their events in ECS"; return 1; }
    state=$(aws ecs describe-services --cluster "$(jq -r .cluster <<<"$1")" --services "${names[@]}") || return 1
    other=$(jq -r --argjson found "$state" '.services | to_entries[] | . as $wanted
        | select(any($found.services[]; .serviceName == $wanted.key and .taskDefinition == $wanted.value) | not) | .key' <<<"$1")
    [ -z "$other" ] || { say "rolled back by ECS: ${other//$'\n'/, }"; return 1; }
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
