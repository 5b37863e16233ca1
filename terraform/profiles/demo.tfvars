# The demo: our own broker, HTTP API, NAT instance, Fargate Spot. account_id comes from the command line.
profile            = "demo"
monthly_budget_usd = 80
