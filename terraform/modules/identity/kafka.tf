# The ACLs as IAM policies, for MSK. Only literal ARNs: this cluster, and its topics and groups by name. Transactional ids go by their beginning,
# which is a group's name: each process ends its own with random letters.
locals {
  cluster = coalesce(var.msk_cluster_arn, "none")
  topic   = "${replace(local.cluster, ":cluster/", ":topic/")}/"
  group   = "${replace(local.cluster, ":cluster/", ":group/")}/"
  id      = "${replace(local.cluster, ":cluster/", ":transactional-id/")}/"

  matrix = { for role, may in var.principals : role => [for statement in [
    {
      Sid      = "Connect"
      Action   = concat(["kafka-cluster:Connect"], length(may.write) > 0 ? ["kafka-cluster:WriteDataIdempotently"] : [])
      Resource = [local.cluster]
    },
    {
      Sid      = "Write"
      Action   = ["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"]
      Resource = [for name in may.write : "${local.topic}${name}"]
    },
    {
      Sid      = "Read"
      Action   = ["kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"]
      Resource = [for name in may.read : "${local.topic}${name}"]
    },
    {
      Sid      = "JoinGroups"
      Action   = ["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"]
      Resource = [for name in may.groups : "${local.group}${name}"]
    },
    {
      Sid      = "WatchGroups"
      Action   = ["kafka-cluster:DescribeGroup"]
      Resource = [for name in may.describe_groups : "${local.group}${name}"]
    },
    {
      Sid      = "UseTransactions"
      Action   = ["kafka-cluster:AlterTransactionalId", "kafka-cluster:DescribeTransactionalId"]
      Resource = [for beginning in may.transactional_ids : "${local.id}${beginning}*"]
    },
  ] : merge({ Effect = "Allow" }, statement) if length(statement.Resource) > 0] }

  # `admin topics apply` creates and changes topics; `audit --now` reads what recovery reads. Nothing is written or deleted.
  ops = concat([
    {
      Sid      = "Connect"
      Effect   = "Allow"
      Action   = ["kafka-cluster:Connect", "kafka-cluster:DescribeCluster"]
      Resource = [local.cluster]
    },
    {
      Sid    = "KeepTopics"
      Effect = "Allow"
      Action = ["kafka-cluster:CreateTopic", "kafka-cluster:DescribeTopic", "kafka-cluster:AlterTopic",
      "kafka-cluster:DescribeTopicDynamicConfiguration", "kafka-cluster:AlterTopicDynamicConfiguration"]
      Resource = [for name in var.topics : "${local.topic}${name}"]
    },
  ], [for statement in lookup(local.matrix, "recovery", []) : statement if contains(["Read", "WatchGroups"], statement.Sid)])

  # Only roles that this stack runs; the pipeline may have more.
  kafka = { for role, statements in merge(local.matrix, { ops = local.ops }) : role => statements if var.msk && contains(keys(var.roles), role) }
}

resource "aws_iam_role_policy" "kafka" {
  for_each = local.kafka
  name     = "kafka"
  role     = aws_iam_role.task[each.key].id
  policy   = jsonencode({ Version = "2012-10-17", Statement = each.value })
}
