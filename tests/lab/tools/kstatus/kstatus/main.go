// kstatus says for each Kubernetes object on its input (JSON, one a line) what kstatus makes of it: one line of JSON with
// the object's status (Current, InProgress, Failed, Terminating, NotFound, Unknown) and the message.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func main() {
	if err := answer(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func answer(in io.Reader, out io.Writer) error {
	// A line holds a whole object, which may have any size.
	lines := bufio.NewReader(in)
	answers := json.NewEncoder(out)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(line); err != nil {
			return fmt.Errorf("line %d is no Kubernetes object: %w", number, err)
		}
		result, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		said := struct {
			Status  status.Status `json:"status"`
			Message string        `json:"message"`
		}{result.Status, result.Message}
		if err := answers.Encode(said); err != nil {
			return err
		}
	}
}
