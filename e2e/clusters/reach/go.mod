module spillway.dev/e2e/reach

go 1.26
