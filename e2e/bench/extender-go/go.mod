module spillway.dev/e2e/bench/extender-go

go 1.26
