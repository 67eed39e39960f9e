module plimsoll.dev/lab/keep

go 1.26.0
