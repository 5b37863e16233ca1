output "schedules" {
  description = "What is called when (local time of the office), by schedule"
  value       = { for name, schedule in aws_scheduler_schedule.this : name => schedule.schedule_expression }
}

output "hours_a_month" {
  description = "For the cost module: how long the stack runs, from when the machines start"
  value = ceil((
    tonumber(split(":", var.office_hours.stop)[0]) + tonumber(split(":", var.office_hours.stop)[1]) / 60
    -tonumber(split(":", var.office_hours.start)[0]) - tonumber(split(":", var.office_hours.start)[1]) / 60 + 0.42
  ) * local.days_a_week * 52.143 / 12)
}

locals {
  week = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
  days_a_week = var.office_hours.days == "*" ? 7 : length(distinct(flatten([
    for part in split(",", var.office_hours.days) :
    length(split("-", part)) == 1 ? [part] : slice(local.week, index(local.week, split("-", part)[0]), index(local.week, split("-", part)[1]) + 1)
  ])))
}
