# Production's rules on the smallest machines: MSK and a load balancer with WAF, but two zones, t3 brokers and a NAT instance.
profile            = "production"
monthly_budget_usd = 250

overrides = {
  kafka_instance     = "kafka.t3.small"
  kafka_brokers      = 2
  kafka_gb           = 20
  db_class           = "db.t4g.micro"
  db_gb              = 20
  egress             = "nat_instance"
  zones              = 2
  container_insights = false
  tasks              = { validator = 1, persistence = 1, registry = 1 }
  max_tasks          = { producer = 4, validator = 3, analytics = 2, persistence = 3 }
}
