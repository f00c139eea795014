module spillway.dev/e2e/relay

go 1.26
