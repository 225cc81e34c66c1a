"""Who may do what: keys, log-in, roles, and the audit trail."""
