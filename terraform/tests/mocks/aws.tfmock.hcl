# What AWS would answer, where the provider checks the form or another resource uses it. Terraform makes up everything else, different for each
# resource: security groups and secrets have no default here, so that tests can distinguish them.
mock_data "aws_iam_policy_document" {
  defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
}
mock_data "aws_ssm_parameter" {
  defaults = { insecure_value = "ami-0aaaaaaaaaaaaaaaa" }
}
mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
}
mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
}
mock_resource "aws_iam_instance_profile" {
  defaults = { arn = "arn:aws:iam::123456789012:instance-profile/mock" }
}
mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:mock" }
}
mock_resource "aws_cloudwatch_metric_alarm" {
  defaults = { arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:mock" }
}
mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:us-east-1:123456789012:mock" }
}
mock_resource "aws_sqs_queue" {
  defaults = { arn = "arn:aws:sqs:us-east-1:123456789012:mock", url = "https://sqs.us-east-1.amazonaws.com/123456789012/mock" }
}
mock_resource "aws_scheduler_schedule_group" {
  defaults = { arn = "arn:aws:scheduler:us-east-1:123456789012:schedule-group/mock" }
}
mock_resource "aws_ssm_parameter" {
  defaults = { arn = "arn:aws:ssm:us-east-1:123456789012:parameter/mock" }
}
mock_resource "aws_ecr_repository" {
  defaults = {
    arn            = "arn:aws:ecr:us-east-1:123456789012:repository/eventflow"
    repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/eventflow"
  }
}
mock_resource "aws_ecs_cluster" {
  defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:cluster/mock" }
}
mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/mock:1" }
}
mock_resource "aws_ecs_service" {
  defaults = { id = "arn:aws:ecs:us-east-1:123456789012:service/mock/mock" }
}
mock_resource "aws_service_discovery_service" {
  defaults = { arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-mock" }
}
mock_resource "aws_msk_configuration" {
  defaults = { arn = "arn:aws:kafka:us-east-1:123456789012:configuration/mock/11111111-2222-3333-4444-555555555555-1", latest_revision = 1 }
}
mock_resource "aws_msk_cluster" {
  defaults = {
    arn                        = "arn:aws:kafka:us-east-1:123456789012:cluster/eventflow-production/11111111-2222-3333-4444-555555555555-1"
    bootstrap_brokers_sasl_iam = "b-1.mock.kafka.us-east-1.amazonaws.com:9098"
  }
}
mock_resource "aws_instance" {
  defaults = { id = "i-0123456789abcdef0", arn = "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0" }
}
mock_resource "aws_ebs_volume" {
  defaults = { id = "vol-0123456789abcdef0" }
}
mock_resource "aws_network_interface" {
  defaults = { id = "eni-0123456789abcdef0", private_ip = "10.42.0.10" }
}
mock_resource "aws_db_instance" {
  defaults = {
    arn                = "arn:aws:rds:us-east-1:123456789012:db:mock"
    address            = "mock.abcdefghijkl.us-east-1.rds.amazonaws.com"
    master_user_secret = [{ kms_key_id = "mock", secret_arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-mock-AbCdEf", secret_status = "active" }]
  }
}
mock_resource "aws_lb" {
  defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/mock/0123456789abcdef", arn_suffix = "app/mock/0123456789abcdef" }
}
mock_resource "aws_lb_target_group" {
  defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/mock/0123456789abcdef", arn_suffix = "targetgroup/mock/0123456789abcdef" }
}
mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/mock/0123456789abcdef/0123456789abcdef" }
}
mock_resource "aws_wafv2_web_acl" {
  defaults = { arn = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/mock/11111111-2222-3333-4444-555555555555" }
}
mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::mock" }
}
mock_resource "aws_apigatewayv2_api" {
  defaults = { id = "abcdefghij", api_endpoint = "https://abcdefghij.execute-api.us-east-1.amazonaws.com" }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = {}
}
mock_resource "aws_security_group" {
  defaults = {}
}
mock_resource "aws_service_discovery_private_dns_namespace" {
  defaults = {}
}
mock_resource "aws_vpc_endpoint" {
  defaults = { prefix_list_id = "pl-01234567" }
}
mock_resource "aws_subnet" {
  defaults = {}
}
