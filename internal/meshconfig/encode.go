package meshconfig

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSON writes a message, as pods carry it. protojson varies its blanks on purpose; a pod that
// is injected twice must not vary, so that there are none.
func JSON(m proto.Message) (string, error) {
	data, err := protojson.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("write JSON: %w", err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, data); err != nil {
		return "", fmt.Errorf("write JSON: %w", err)
	}
	return out.String(), nil
}
