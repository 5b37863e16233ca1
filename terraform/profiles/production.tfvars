# Three zones, MSK, load balancer with WAF, no way to the internet. account_id, domain_name and certificate_arn come from the command line.
profile            = "production"
monthly_budget_usd = 900
