// acmesolver answers one HTTP-01 challenge. cert-manager starts it in a pod; its flags are those of the original, which
// is not published as a package.
package main

import (
	"errors"
	"flag"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
)

func main() {
	challenge := &solver.HTTP01Solver{}
	flag.IntVar(&challenge.ListenPort, "listen-port", 8089, "port to listen on")
	flag.StringVar(&challenge.Domain, "domain", "", "domain of the challenge")
	flag.StringVar(&challenge.Token, "token", "", "token of the challenge")
	flag.StringVar(&challenge.Key, "key", "", "answer to the challenge")
	flag.Parse()

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		challenge.Close()
	}()
	if err := challenge.Listen(logf.Log); !errors.Is(err, http.ErrServerClosed) {
		logf.Log.Error(err, "cannot serve")
		os.Exit(1)
	}
}
