"""What the observability suite uses: a ClickHouse client, senders, and the shipped dashboards and rules as data."""
