// Command keep runs a program for as long as its own standard input is open.
//
// A test that is killed cannot stop what it has started. A pipe closes whatever becomes of the process that held it, so a program
// under keep never outlives the one that asked for it. The first line on standard output is "pid N": the program's own process id.
// A line "stop" on standard input asks the program to end (SIGTERM), and a line "kill" ends it.
//
//	keep [--remove DIR] PROGRAM ARGS...
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
)

func main() {
	args, dir := os.Args[1:], ""
	if len(args) > 2 && args[0] == "--remove" {
		dir, args = args[1], args[2:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: keep [--remove DIR] PROGRAM ARGS...")
		os.Exit(2)
	}
	// The kernel signals the child when the *thread* that made it ends, so this thread must last.
	runtime.LockOSThread()
	program := exec.Command(args[0], args[1:]...)
	program.Stdout, program.Stderr = os.Stderr, os.Stderr
	program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := program.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "keep: %s does not start: %v\n", args[0], err)
		os.Exit(127)
	}
	fmt.Printf("pid %d\n", program.Process.Pid)

	var alone atomic.Bool
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			switch lines.Text() {
			case "stop":
				_ = program.Process.Signal(syscall.SIGTERM)
			case "kill":
				_ = program.Process.Kill()
			}
		}
		alone.Store(true)
		_ = program.Process.Kill()
	}()
	_ = program.Wait()
	if alone.Load() && dir != "" {
		// The owner is gone, so nobody will ask for the directory again.
		_ = os.RemoveAll(dir)
	}
	os.Exit(exitCode(program.ProcessState))
}

// exitCode is the program's own, or 128 + the signal that ended it, as shells say it.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
