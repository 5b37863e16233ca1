mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/eventflow-demo-parking" }
  }
}

variables {
  name        = "eventflow-demo"
  region      = "us-east-1"
  account_id  = "123456789012"
  kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  cluster     = { name = "eventflow-demo", arn = "arn:aws:ecs:us-east-1:123456789012:cluster/eventflow-demo" }
  services = {
    producer = { name = "eventflow-demo-producer", arn = "arn:aws:ecs:us-east-1:123456789012:service/eventflow-demo/eventflow-demo-producer", tasks = 2 }
    recovery = { name = "eventflow-demo-recovery", arn = "arn:aws:ecs:us-east-1:123456789012:service/eventflow-demo/eventflow-demo-recovery", tasks = 1 }
  }
  database  = { identifier = "eventflow-demo", arn = "arn:aws:rds:us-east-1:123456789012:db:eventflow-demo" }
  instances = { broker = { id = "i-0b", arn = "arn:aws:ec2:us-east-1:123456789012:instance/i-0b" } }
  alarms    = { quiet = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:quiet" }
}

run "what_others_need_starts_first_and_stops_last" {
  assert {
    condition = output.schedules == {
      alarms-start             = "cron(30 8 ? * MON-FRI *)"
      alarms-stop              = "cron(55 17 ? * MON-FRI *)"
      database-machines-start  = "cron(45 7 ? * MON-FRI *)"
      database-machines-stop   = "cron(10 18 ? * MON-FRI *)"
      instances-machines-start = "cron(45 7 ? * MON-FRI *)"
      instances-machines-stop  = "cron(10 18 ? * MON-FRI *)"
      producer-roles-start     = "cron(0 8 ? * MON-FRI *)"
      producer-roles-stop      = "cron(0 18 ? * MON-FRI *)"
      recovery-roles-start     = "cron(0 8 ? * MON-FRI *)"
      recovery-roles-stop      = "cron(0 18 ? * MON-FRI *)"
    }
    error_message = "Schedules: ${jsonencode(output.schedules)}"
  }
  assert {
    condition     = jsondecode(aws_scheduler_schedule.this["producer-roles-start"].target[0].input).DesiredCount == 2 && jsondecode(aws_scheduler_schedule.this["producer-roles-stop"].target[0].input).DesiredCount == 0
    error_message = "In the morning a service gets its own number of tasks back, not one."
  }
  assert {
    condition     = alltrue([for schedule in aws_scheduler_schedule.this : schedule.schedule_expression_timezone == "Europe/Berlin" && schedule.kms_key_arn == var.kms_key_arn])
    error_message = "Office hours are local time, and schedules are encrypted."
  }
  assert {
    condition     = output.hours_a_month == 227 # (10 h + a quarter before and ten minutes after) x 5 x 52.143 / 12
    error_message = "Hours a month: ${output.hours_a_month}"
  }
}

run "the_role_reaches_this_stack_only" {
  command = plan
  assert {
    condition = toset(flatten([for statement in data.aws_iam_policy_document.this.statement : statement.resources])) == toset([
      "arn:aws:ecs:us-east-1:123456789012:service/eventflow-demo/eventflow-demo-producer",
      "arn:aws:ecs:us-east-1:123456789012:service/eventflow-demo/eventflow-demo-recovery",
      "arn:aws:rds:us-east-1:123456789012:db:eventflow-demo",
      "arn:aws:ec2:us-east-1:123456789012:instance/i-0b",
      "arn:aws:cloudwatch:us-east-1:123456789012:alarm:quiet",
      "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000",
    ])
    error_message = "The parking role may touch what is parked and nothing else."
  }
  # Without the grant an instance with encrypted disks does not start; with a wider one the role could let others use the key.
  assert {
    condition = [for statement in data.aws_iam_policy_document.this.statement : {
      resources  = statement.resources
      conditions = { for c in statement.condition : "${c.test} ${c.variable}" => one(c.values) }
      } if contains(statement.actions, "kms:CreateGrant")] == [{
      resources  = toset(["arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"])
      conditions = { "Bool kms:GrantIsForAWSResource" = "true", "StringEquals kms:ViaService" = "ec2.us-east-1.amazonaws.com" }
    }]
    error_message = "The role may let EC2, and EC2 only, open the disks of what it starts."
  }
}

run "without_database_and_instances_only_services_park" {
  command = plan
  variables {
    database  = null
    instances = {}
    alarms    = {}
  }
  assert {
    condition     = length(aws_scheduler_schedule.this) == 4
    error_message = "Two services, start and stop."
  }
  assert {
    condition     = !anytrue([for statement in data.aws_iam_policy_document.this.statement : contains(statement.actions, "kms:CreateGrant")])
    error_message = "Nothing to start, no grant."
  }
}

run "a_window_over_midnight_is_refused" {
  command = plan
  variables {
    office_hours = { start = "22:00", stop = "06:00" }
  }
  expect_failures = [var.office_hours]
}

run "days_that_cron_does_not_know_are_refused" {
  command = plan
  variables {
    office_hours = { days = "Mo-Fr" }
  }
  expect_failures = [var.office_hours]
}

run "too_early_to_start_the_machines_before" {
  command = plan
  variables {
    office_hours = { start = "00:05", stop = "12:00" }
  }
  expect_failures = [var.office_hours]
}
