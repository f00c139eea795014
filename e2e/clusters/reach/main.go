// Reach is the smallest witness of who can reach whom in the test ground.
//
//	reach serve ADDRESS        answers every HTTP request with 200 and the caller's address
//	reach get URL [CA-FILE]    one GET; prints status and body, exit 1 unless the status is 2xx or 401/403
//
// An API server that answers 401 or 403 was reached, and its certificate verified, which is the question here.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const timeout = 10 * time.Second

func serve(address string) error {
	answer := func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "reached from %s\n", r.RemoteAddr) }
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(answer), ReadHeaderTimeout: timeout}
	return server.ListenAndServe()
}

func client(authority string) (*http.Client, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if authority != "" {
		pem, err := os.ReadFile(authority)
		if err != nil {
			return nil, err
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", authority)
		}
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{TLSClientConfig: settings}}, nil
}

func get(url, authority string) error {
	asker, err := client(authority)
	if err != nil {
		return err
	}
	response, err := asker.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return err
	}
	fmt.Printf("%s %s\n", response.Status, body)
	if code := response.StatusCode; code/100 == 2 || code == 401 || code == 403 {
		return nil
	}
	return errors.New(response.Status)
}

func main() {
	arguments := append(os.Args[1:], "", "", "")
	err := errors.New("usage: reach serve ADDRESS | reach get URL [CA-FILE]")
	switch {
	case arguments[0] == "serve" && arguments[1] != "":
		err = serve(arguments[1])
	case arguments[0] == "get" && arguments[1] != "":
		err = get(arguments[1], arguments[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reach:", err)
		os.Exit(1)
	}
}
