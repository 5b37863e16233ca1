mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:eventflow-demo-alerts" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/eventflow-demo-audit" }
  }
  mock_resource "aws_scheduler_schedule_group" {
    defaults = { arn = "arn:aws:scheduler:us-east-1:123456789012:schedule-group/eventflow-demo-audit" }
  }
}

variables {
  name               = "eventflow-demo"
  region             = "us-east-1"
  account_id         = "123456789012"
  alert_email        = "on-call@example.com"
  monthly_budget_usd = 80
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111"
  ecs_cluster_name   = "eventflow-demo"
  services = {
    for role in ["producer", "validator", "analytics", "persistence", "recovery", "registry"] :
    role => { service_name = "eventflow-demo-${role}", log_group_name = "/eventflow-demo/${role}", tasks = 1 }
  }
  audit = {
    cluster_arn         = "arn:aws:ecs:us-east-1:123456789012:cluster/eventflow-demo"
    task_definition_arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/eventflow-demo-recovery:17"
    container           = "recovery"
    subnet_ids          = ["subnet-0a"]
    security_group_ids  = ["sg-0a"]
    role_arns           = ["arn:aws:iam::123456789012:role/eventflow-demo-recovery-task", "arn:aws:iam::123456789012:role/eventflow-demo-recovery-execution"]
  }
  edge     = { kind = "http_api", api_id = "abc" }
  kafka    = { kind = "ec2", instance_id = "i-0b", log_group_name = "/eventflow-demo/kafka" }
  database = { identifier = "eventflow-demo", storage_gb = 20, burstable = true }
}

run "demo" {
  assert {
    condition = length(setsubtract([
      "unaccounted", "audit-silent", "in-flight", "dead-letters", "stage-held", "errors", "quiet", "edge-5xx", "db-storage", "db-credits",
      "kafka-down", "kafka-disk", "down-producer", "down-persistence",
    ], keys(aws_cloudwatch_metric_alarm.this))) == 0
    error_message = "An alarm is missing: ${jsonencode(keys(aws_cloudwatch_metric_alarm.this))}"
  }
  assert {
    condition = alltrue([for alarm in aws_cloudwatch_metric_alarm.this :
      contains(alarm.alarm_actions, aws_sns_topic.alerts.arn) && length([for query in alarm.metric_query : query if query.return_data == true]) == 1
    ])
    error_message = "Every alarm notifies somebody, and evaluates exactly one series."
  }
  # A single gap alarms at once. A silent audit is a fault of its own; missing data about gaps is not another.
  assert {
    condition = (aws_cloudwatch_metric_alarm.this["unaccounted"].threshold == 0 && aws_cloudwatch_metric_alarm.this["unaccounted"].evaluation_periods == 1
    && aws_cloudwatch_metric_alarm.this["audit-silent"].treat_missing_data == "breaching")
    error_message = "A webhook without a fate must alarm at once, and so must not knowing."
  }
  assert {
    condition     = output.counts.alarms == length(aws_cloudwatch_metric_alarm.this) && output.counts.custom_metrics == 9
    error_message = "What is priced is what is made: ${jsonencode(output.counts)}"
  }
  assert {
    condition     = sort(distinct([for filter in aws_cloudwatch_log_metric_filter.errors : filter.log_group_name])) == sort([for service in values(var.services) : service.log_group_name])
    error_message = "Errors are counted in every role's log."
  }
  assert {
    condition     = aws_scheduler_schedule.audit.target[0].ecs_parameters[0].task_definition_arn == "arn:aws:ecs:us-east-1:123456789012:task-definition/eventflow-demo-recovery" && !aws_scheduler_schedule.audit.target[0].ecs_parameters[0].network_configuration[0].assign_public_ip
    error_message = "The audit runs the newest revision, without a public address."
  }
  assert {
    condition = flatten([for s in data.aws_iam_policy_document.audit.statement : tolist(s.resources) if contains(s.actions, "ecs:RunTask")]) == [
      "arn:aws:ecs:us-east-1:123456789012:task-definition/eventflow-demo-recovery", "arn:aws:ecs:us-east-1:123456789012:task-definition/eventflow-demo-recovery:*",
    ]
    error_message = "What the schedule runs, as it names it, and no other family."
  }
  assert {
    condition     = aws_scheduler_schedule.audit.schedule_expression == "rate(15 minutes)"
    error_message = "Day and night, unless parked."
  }
}

run "the_audit_sleeps_while_the_stack_is_parked" {
  command = plan
  variables {
    office_hours = { timezone = "Europe/Berlin", days = "MON-FRI", start = "08:00", stop = "18:00" }
  }
  assert {
    condition     = aws_scheduler_schedule.audit.schedule_expression == "cron(0/15 9-17 ? * MON-FRI *)" && aws_scheduler_schedule.audit.schedule_expression_timezone == "Europe/Berlin"
    error_message = aws_scheduler_schedule.audit.schedule_expression
  }
}

run "production_on_msk_watches_every_group_and_broker" {
  command = plan
  variables {
    edge     = { kind = "alb", load_balancer = "app/eventflow/0", target_group = "targetgroup/eventflow/0" }
    kafka    = { kind = "msk", cluster_name = "eventflow-production", brokers = 3 }
    database = { identifier = "eventflow-production", storage_gb = 50, burstable = false }
  }
  assert {
    condition = length(setsubtract(["lag-eventflow-validator", "lag-eventflow-analytics", "lag-eventflow-persistence", "kafka-disk-1", "kafka-disk-2", "kafka-disk-3", "kafka-offline"],
    keys(aws_cloudwatch_metric_alarm.this))) == 0
    error_message = "Lag of each group and the disk of each broker."
  }
  assert {
    condition     = length([for name in keys(aws_cloudwatch_metric_alarm.this) : name if name == "kafka-down" || name == "db-credits"]) == 0
    error_message = "No alarm on what is not there: it would have no data for ever."
  }
}

run "no_quiet_alarm_where_none_is_wanted" {
  command = plan
  variables {
    thresholds = { quiet_minutes = 0 }
  }
  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.this), "quiet")
    error_message = "quiet_minutes = 0 switches the alarm off."
  }
}

run "an_unknown_edge_is_refused" {
  command = plan
  variables {
    edge = { kind = "nginx" }
  }
  expect_failures = [var.edge]
}
