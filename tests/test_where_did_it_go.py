"""The page "Where did it go" names all that was, and only what is."""

import pathlib
import re

import keras
import pytest

import keras_ext

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "reference" / "where_did_it_go.md"
# Without the examples, which the tests of docs/ run.
TEXT = re.sub(r"(?ms)^```.*?^```$", "", PAGE.read_text(encoding="utf-8"))

HEADER = "| Was | Now | What changes, or what to write |"
RULE = "|---|---|---|"
NOWHERE = "\N{EN DASH}"

# The public names of TensorFlow Addons 0.23.0 and KerasCV 0.9.0, from their packages.
PUBLIC = {
    "tfa.layers": """
        AdaptiveAveragePooling1D AdaptiveAveragePooling2D
        AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D
        AdaptiveMaxPooling3D CRF CorrelationCost ESN EmbeddingBag
        FilterResponseNormalization GELU GroupNormalization
        InstanceNormalization MaxUnpooling2D MaxUnpooling2DV2 Maxout
        MultiHeadAttention NoisyDense PoincareNormalize PolynomialCrossing Snake
        Sparsemax SpatialPyramidPooling2D SpectralNormalization StochasticDepth
        TLU WeightNormalization
    """,
    "tfa.activations": """
        gelu hardshrink lisht mish rrelu snake softshrink sparsemax tanhshrink
    """,
    "tfa.losses": """
        ContrastiveLoss GIoULoss LiftedStructLoss NpairsLoss
        NpairsMultilabelLoss PinballLoss SigmoidFocalCrossEntropy SparsemaxLoss
        TripletHardLoss TripletSemiHardLoss WeightedKappaLoss contrastive_loss
        giou_loss lifted_struct_loss npairs_loss npairs_multilabel_loss
        pinball_loss sigmoid_focal_crossentropy sparsemax_loss triplet_hard_loss
        triplet_semihard_loss
    """,
    "tfa.metrics": """
        CohenKappa F1Score FBetaScore GeometricMean HammingLoss HarmonicMean
        KendallsTauB KendallsTauC MatthewsCorrelationCoefficient
        MeanMetricWrapper MultiLabelConfusionMatrix PearsonsCorrelation RSquare
        SpearmansRank hamming_distance hamming_loss_fn
    """,
    "tfa.optimizers": """
        AdaBelief AdamW AveragedOptimizerWrapper COCOB ConditionalGradient
        CyclicalLearningRate DecoupledWeightDecayExtension
        ExponentialCyclicalLearningRate KerasLegacyOptimizer LAMB LazyAdam
        Lookahead MovingAverage MultiOptimizer NovoGrad ProximalAdagrad
        RectifiedAdam SGDW SWA Triangular2CyclicalLearningRate
        TriangularCyclicalLearningRate Yogi extend_with_decoupled_weight_decay
    """,
    "tfa.callbacks": """
        AverageModelCheckpoint TQDMProgressBar TimeStopping
    """,
    "tfa.rnn": """
        ESNCell LayerNormLSTMCell LayerNormSimpleRNNCell NASCell
        PeepholeLSTMCell
    """,
    "tfa.seq2seq": """
        AttentionMechanism AttentionWrapper AttentionWrapperState
        BahdanauAttention BahdanauMonotonicAttention BaseDecoder BasicDecoder
        BasicDecoderOutput BeamSearchDecoder BeamSearchDecoderOutput
        BeamSearchDecoderState CustomSampler Decoder
        FinalBeamSearchDecoderOutput GreedyEmbeddingSampler InferenceSampler
        LuongAttention LuongMonotonicAttention SampleEmbeddingSampler Sampler
        ScheduledEmbeddingTrainingSampler ScheduledOutputTrainingSampler
        SequenceLoss TrainingSampler dynamic_decode gather_tree
        gather_tree_from_array hardmax monotonic_attention safe_cumprod
        sequence_loss tile_batch
    """,
    "tfa.image": """
        adjust_hsv_in_yiq angles_to_projective_transforms blend
        compose_transforms connected_components cutout dense_image_warp equalize
        euclidean_dist_transform gaussian_filter2d interpolate_bilinear
        interpolate_spline mean_filter2d median_filter2d random_cutout
        random_hsv_in_yiq resampler rotate sharpness shear_x shear_y
        sparse_image_warp transform translate translate_xy
        translations_to_projective_transforms
    """,
    "tfa.text": """
        CRFModelWrapper CrfDecodeForwardRnnCell crf_binary_score
        crf_constrained_decode crf_decode crf_decode_backward crf_decode_forward
        crf_filtered_inputs crf_forward crf_log_likelihood crf_log_norm
        crf_multitag_sequence_score crf_sequence_score crf_unary_score
        parse_time skip_gram_sample skip_gram_sample_with_text_vocab
        viterbi_decode
    """,
    "keras_cv.layers": """
        AddPositionalEmbedding AddRelativePositionalEmbedding AnchorGenerator
        AugMix Augmenter AutoContrast BaseAugmentationLayer3D
        BaseImageAugmentationLayer BoxMatcher CenterNetLabelEncoder
        ChannelShuffle CutMix DropBlock2D DropPath DynamicVoxelization
        Equalization FeaturePyramid FourierMix FrustumRandomDroppingPoints
        FrustumRandomPointFeatureNoise FusedMBConvBlock
        GlobalRandomDroppingPoints GlobalRandomFlip GlobalRandomRotation
        GlobalRandomScaling GlobalRandomTranslation Grayscale GridMask
        GroupPointsByBoundingBoxes HeatmapDecoder HierarchicalTransformerEncoder
        JitteredResize MBConvBlock MixUp Mosaic MultiClassNonMaxSuppression
        MultiHeadAttentionWithDownsampling MultiHeadAttentionWithRelativePE
        NonMaxSuppression OverlappingPatchingAndEmbedding PatchingAndEmbedding
        Posterization ROIGenerator ROIPooler RandAugment RandomApply
        RandomAspectRatio RandomAugmentationPipeline RandomBrightness
        RandomChannelShift RandomChoice RandomColorDegeneration
        RandomColorJitter RandomContrast RandomCopyPaste RandomCrop
        RandomCropAndResize RandomCutout RandomDropBox RandomFlip
        RandomFrequencyPositionalEmbeddings RandomGaussianBlur RandomHue
        RandomJpegQuality RandomRotation RandomSaturation RandomSharpness
        RandomShear RandomTranslation RandomZoom RepeatedAugmentation Rescaling
        Resizing SegFormerMultiheadAttention Solarization SpatialPyramidPooling
        SqueezeAndExcite2D StochasticDepth SwapBackground TransformerEncoder
        TwoWayMultiHeadAttention VectorizedBaseImageAugmentationLayer
        ViTDetPatchingAndEmbedding WindowPartitioning WindowedTransformerEncoder
    """,
    "keras_cv.losses": """
        BinaryPenaltyReducedFocalCrossEntropy CIoULoss CenterNetBoxLoss
        FocalLoss GIoULoss IoULoss SimCLRLoss SmoothL1Loss
    """,
    "keras_cv.bounding_box": """
        CENTER_XYWH REL_XYWH REL_XYXY REL_YXYX XYWH XYXY YXYX as_relative
        clip_to_image compute_ciou compute_iou convert_format ensure_tensor
        is_relative mask_invalid_detections to_dense to_ragged validate_format
    """,
}

# What the page names of KerasHub 0.32.0 and Keras Recommenders 0.4.0: all of it was
# found in these packages, which need not be installed here.
OTHERS = {
    "keras_hub.layers": """
        AnchorGenerator BoxMatcher NonMaxSuppression PositionEmbedding
        SAMMaskDecoder SAMPromptEncoder TransformerEncoder
    """,
    "keras_hub.models": """
        BASNetBackbone BASNetImageSegmenter CLIPBackbone CLIPTextEncoder
        CLIPVisionEncoder CSPNetBackbone DFineObjectDetector DeepLabV3Backbone
        DeepLabV3ImageSegmenter DenseNetBackbone EfficientNetBackbone
        ImageClassifier MiTBackbone MobileNetBackbone ResNetBackbone
        RetinaNetObjectDetector SAMBackbone SAMImageSegmenter SegFormerBackbone
        SegFormerImageSegmenter StableDiffusion3TextToImage VGGBackbone
        ViTDetBackbone
    """,
    "keras_hub.samplers": """
        BeamSampler GreedySampler RandomSampler
    """,
    "keras_rs.layers": """
        EmbedReduce FeatureCross
    """,
}

NAME = r"(?:\{(?:class|func)\})?`[\w.]+`(?: \(Keras \d+\.\d+\))?"


def _tables():
    """Yield the name of a room of old and the cells of each of its rows."""
    room, inside = None, False
    for line in TEXT.splitlines():
        if line.startswith("#"):
            found = re.search(r"`((?:tfa|keras_cv)\.\w+)`", line)
            room = found and found[1]
        inside = line == HEADER or (inside and line.startswith("|"))
        if inside and line not in (HEADER, RULE):
            yield room, [cell.strip() for cell in line.strip("|").split("|")]


ROWS = list(_tables())


def _mentioned(package):
    """Return the names of a package on the page."""
    pattern = rf"(?<![\w.]){package}\.\w+(?:\.\w+)*"
    return sorted(set(re.findall(pattern, TEXT)))


def _exists(name):
    thing = keras
    for part in name.split(".")[1:]:
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


def _version(text):
    return tuple(int(number) for number in text.split(".")[:2])


NEEDED = {
    name: _version(version)
    for name, version in re.findall(r"`(keras\.[\w.]+)` \(Keras ([\d.]+)\)", TEXT)
}


@pytest.mark.parametrize("room", PUBLIC)
def test_every_name_of_a_room_of_old_stands_in_its_tables_once(room):
    names = [
        name
        for table, (was, _, _) in ROWS
        if table == room
        for name in re.findall(r"`(\w+)`", was)
    ]
    assert sorted(names) == sorted(PUBLIC[room].split())


def test_every_layer_has_a_row_of_its_own():
    layers = [was for room, (was, _, _) in ROWS if str(room).endswith(".layers")]
    assert len(layers) == 28 + 85
    for was in layers:
        assert re.fullmatch(r"`\w+`", was)


def test_the_column_now_holds_names_or_nothing():
    for _, (was, now, _) in ROWS:
        assert now == NOWHERE or re.fullmatch(rf"{NAME}(, {NAME})*", now), was


def test_every_row_says_what_changes():
    for _, (was, _, what) in ROWS:
        assert what not in ("", NOWHERE), was


def test_every_link_has_its_section():
    titles = re.findall(r"(?m)^#+ (.+)$", TEXT)
    anchors = {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}
    assert anchors >= set(re.findall(r"\]\(#([\w-]+)\)", TEXT))


@pytest.mark.parametrize("name", _mentioned("keras"))
def test_what_the_page_names_of_keras_exists_from_the_version_on_that_it_says(name):
    needed = NEEDED.get(name, (3, 12))
    assert _exists(name) == (_version(keras.__version__) >= needed)


@pytest.mark.parametrize("name", _mentioned("ops"))
def test_what_the_page_names_of_keras_ops_exists(name):
    assert _exists(f"keras.{name}")


@pytest.mark.parametrize("name", _mentioned("keras_ext"))
def test_what_the_page_names_of_keras_ext_is_public(name):
    _, room, component = name.split(".")
    assert component in getattr(keras_ext, room).__all__


@pytest.mark.parametrize("name", [*_mentioned("keras_hub"), *_mentioned("keras_rs")])
def test_what_the_page_names_of_other_packages_was_found_there(name):
    room, component = re.match(r"(\w+\.\w+)\.(\w+)", name).groups()
    assert component in OTHERS[room].split()
