package nodeimage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// rawLayer is a tar file as it is. The library's own layers are always compressed; ours never cross a network, and
// every new node would pay for unpacking them.
type rawLayer struct {
	file string
	hash v1.Hash
	size int64
}

// newRawLayer reads the file once, for its hash. The file must stay until the image has been written.
func newRawLayer(file string) (rawLayer, error) {
	in, err := os.Open(file)
	if err != nil {
		return rawLayer{}, err
	}
	defer in.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, in)
	if err != nil {
		return rawLayer{}, fmt.Errorf("hash layer: %w", err)
	}
	hash := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return rawLayer{file: file, hash: hash, size: size}, nil
}

// Digest implements v1.Layer.
func (l rawLayer) Digest() (v1.Hash, error) { return l.hash, nil }

// DiffID implements v1.Layer.
func (l rawLayer) DiffID() (v1.Hash, error) { return l.hash, nil }

// Compressed implements v1.Layer.
func (l rawLayer) Compressed() (io.ReadCloser, error) { return os.Open(l.file) }

// Uncompressed implements v1.Layer.
func (l rawLayer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.file) }

// Size implements v1.Layer.
func (l rawLayer) Size() (int64, error) { return l.size, nil }

// MediaType implements v1.Layer.
func (l rawLayer) MediaType() (types.MediaType, error) { return types.DockerUncompressedLayer, nil }
